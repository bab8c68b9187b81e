import { existsSync, rmSync } from "node:fs";
import { describeFault } from "../core/fault-spec.ts";
import { renderError } from "../core/errors.ts";
import { destroyLab, findLabs } from "../lab/lab.ts";
import { staleImages } from "../supplies/image.ts";
import { staleStaging } from "../supplies/supplies.ts";
import { liveOwner } from "../tools/owner.ts";
import { Machines } from "../tools/libvirt-machine.ts";
import { accessIfThere } from "./access.ts";
import { staleCheckpoints } from "./checkpoint-store.ts";
import { ClusterDir, clusterNames } from "./cluster.ts";
import { unmakeCluster } from "./down.ts";
import { undoFault } from "./fault-table.ts";
import { forget, type JournalEntry, orphans, ownEntries } from "./journal.ts";
import { describeObjects, removeObjects } from "./objects.ts";
import { passing, removePassing } from "./users.ts";

/**
 * Removes what killed runs left: clusters that were being made, or made for a process that has ended, labs without a cluster, staging
 * and temporary directories. Never touches what a living process is making or what is finished. Returns what it removed, a line each.
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
  for (const entry of inOrder(orphans(paths.state))) {
    const { pid, command } = entry.owner;
    const { what, outcome } = await unmake(entry, paths.state);
    if (outcome === "removed") note(`${what}, left by process ${pid}${command === "" ? "" : ` (${command})`}`);
    // What stays is tried again by the next command; this one may be the `down` that ends it for good.
    if (outcome !== "stays") forget(paths.state, entry);
  }
  for (const each of passing(paths.state))
    if (await removePassing(each)) note(`cluster ${each.cluster.name}, made for process ${each.maker.pid}`);
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

/**
 * Removes what this process has made and not finished, as the next command would if it were killed now: it is about to end, and
 * nobody may make anything anew (`declareNoMore`).
 */
export async function reapOwn(state: string, say: (line: string) => void): Promise<void> {
  const unmade: JournalEntry[] = [];
  for (const entry of inOrder(ownEntries(state))) {
    const { what, outcome } = await unmake(entry, state);
    if (outcome === "removed" && entry.intent.kind !== "path") say(what);
    if (outcome !== "stays") unmade.push(entry);
  }
  // What was under way may have gone on meanwhile: only what is gone at this moment, the last one, is forgotten.
  for (const entry of unmade) if (isGone(entry, state)) forget(state, entry);
}

/** A state directory before the path it lies in: who is still making a cluster there is told by its files. */
const inOrder = (all: readonly JournalEntry[]): readonly JournalEntry[] =>
  all.toSorted((a, b) => Number(b.intent.kind === "state") - Number(a.intent.kind === "state"));

/** What became of something that was declared. It stays where its cluster does not answer. */
interface Unmade {
  readonly what: string;
  readonly outcome: "removed" | "was gone" | "stays";
}

/** Unmakes what an entry declares. */
async function unmake({ intent }: JournalEntry, state: string): Promise<Unmade> {
  switch (intent.kind) {
    case "fault":
      return reach(`${describeFault(intent.fault)} in cluster ${intent.cluster}`, undoFault(state, intent));
    case "objects":
      return reach(describeObjects(intent), removeObjects(state, intent));
    case "cluster":
      await unmakeCluster(new ClusterDir(state, intent.cluster), intent.host);
      return { what: `cluster ${intent.cluster}`, outcome: "removed" };
    case "checkpoint": {
      rmSync(intent.path, { recursive: true, force: true });
      const woken = await wake(new ClusterDir(state, intent.cluster));
      const what = `half a checkpoint of cluster ${intent.cluster}${woken ? ", whose nodes go on" : ""}`;
      return { what, outcome: "removed" };
    }
    case "state":
      await removeState(intent.path);
      return { what: `the clusters in ${intent.path}`, outcome: "removed" };
    case "path": {
      const outcome = existsSync(intent.path) ? "removed" : "was gone";
      rmSync(intent.path, { recursive: true, force: true });
      return { what: intent.path, outcome };
    }
  }
}

/** Something in a cluster that goes on, and may not answer. `removing` tells whether the cluster was there. */
async function reach(what: string, removing: Promise<boolean>): Promise<Unmade> {
  try {
    return { what, outcome: (await removing) ? "removed" : "was gone" };
  } catch (error) {
    process.stderr.write(`kpi: could not remove ${what}: ${renderError(error)}\n`);
    return { what, outcome: "stays" };
  }
}

/** Whether nothing is there of what is made in this machine's files; faults and objects are gone when they have been unmade. */
function isGone({ intent }: JournalEntry, state: string): boolean {
  if (intent.kind === "path" || intent.kind === "state" || intent.kind === "checkpoint")
    return !existsSync(intent.path);
  if (intent.kind !== "cluster") return true;
  const cluster = new ClusterDir(state, intent.cluster);
  return !existsSync(cluster.dir) && !existsSync(cluster.labDir);
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
  const access = await accessIfThere(cluster);
  if (access === undefined) return false;
  const machines = new Machines(access.uri);
  const paused = (await access.libvirt.domains()).filter(({ state }) => state === "paused");
  await Promise.all(paused.map(({ name }) => machines.goOn(name)));
  return true;
}
