import { existsSync, rmSync } from "node:fs";
import { describeFault } from "../core/fault-spec.ts";
import { renderError } from "../core/errors.ts";
import { destroyLab, findLabs } from "../lab/lab.ts";
import { staleImages } from "../supplies/image.ts";
import { staleStaging } from "../supplies/supplies.ts";
import { liveOwner } from "../tools/owner.ts";
import { Machines } from "../tools/libvirt-machine.ts";
import { openAccess } from "./access.ts";
import { staleCheckpoints } from "./checkpoint-store.ts";
import { ClusterDir, clusterNames } from "./cluster.ts";
import { unmakeCluster } from "./down.ts";
import { undoFault } from "./fault-table.ts";
import { forget, type JournalEntry, orphans } from "./journal.ts";

/**
 * Removes what killed runs left: clusters that were being made, labs without a cluster, staging and temporary
 * directories. Never touches what a living process is making or what is finished. Returns what it removed, a line each.
 */
export async function reap(
  paths: { cache: string; state: string },
  say: (line: string) => void = () => {},
): Promise<string[]> {
  const removed: string[] = [];
  const note = (line: string) => {
    removed.push(line);
    say(line);
  };
  // A state directory before the path it lies in: who is still making a cluster there is told by its files.
  const states = (entry: JournalEntry) => Number(entry.intent.kind === "state");
  for (const entry of orphans(paths.state).sort((a, b) => states(b) - states(a))) {
    const { intent } = entry;
    if (intent.kind === "fault") {
      try {
        const healed = await undoFault(paths.state, entry);
        if (healed !== undefined) note(`${healed}, left in force by process ${entry.owner.pid}`);
      } catch (error) {
        // It stays in the journal, and the next command tries again; this one may be the `down` that ends it for good.
        const what = `${describeFault(intent.fault)} in cluster ${intent.cluster}`;
        process.stderr.write(`kpi: could not heal ${what}: ${renderError(error)}\n`);
        continue;
      }
    } else if (intent.kind === "cluster") {
      await unmakeCluster(new ClusterDir(paths.state, intent.cluster), intent.host);
      note(`cluster ${intent.cluster}, left by process ${entry.owner.pid} (${entry.owner.command})`);
    } else if (intent.kind === "checkpoint") {
      rmSync(intent.path, { recursive: true, force: true });
      const woken = await wake(new ClusterDir(paths.state, intent.cluster));
      note(`half a checkpoint of cluster ${intent.cluster}${woken ? ", whose nodes go on" : ""}`);
    } else if (intent.kind === "state") {
      await removeState(intent.path);
      note(`the clusters in ${intent.path}, left by process ${entry.owner.pid}`);
    } else if (existsSync(intent.path)) {
      rmSync(intent.path, { recursive: true, force: true });
      note(intent.path);
    }
    forget(paths.state, entry);
  }
  for (const lab of findLabs(paths.state)) {
    const cluster = new ClusterDir(paths.state, lab.name);
    if (cluster.exists()) continue; // the file is written before the lab is made
    await destroyLab(lab.dir);
    note(`lab ${lab.name}, which belongs to no cluster`);
  }
  for (const dir of [...staleStaging(paths.cache), ...staleImages(paths.cache), ...staleCheckpoints(paths.cache)]) {
    rmSync(dir, { recursive: true, force: true });
    note(dir);
  }
  return removed;
}

/** Removes a state directory, its clusters and labs, and whoever is still making one: nobody knows of it any more. */
async function removeState(state: string): Promise<void> {
  for (const name of clusterNames(state)) {
    const maker = liveOwner(new ClusterDir(state, name).lockPath);
    if (maker !== undefined) process.kill(maker.pid, "SIGKILL");
  }
  for (const lab of findLabs(state)) await destroyLab(lab.dir);
  rmSync(state, { recursive: true, force: true });
}

/** Lets the nodes of a cluster go on that stood still when the process died which was saving them. False when it is gone. */
async function wake(cluster: ClusterDir): Promise<boolean> {
  const opened = await openAccess(cluster).catch(() => undefined);
  if (opened === undefined) return false;
  const { access } = opened;
  const machines = new Machines(access.uri);
  const paused = (await access.libvirt.domains()).filter(({ state }) => state === "paused");
  await Promise.all(paused.map(({ name }) => machines.goOn(name)));
  return true;
}
