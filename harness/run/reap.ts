import { existsSync, rmSync } from "node:fs";
import { describeFault } from "../core/fault-spec.ts";
import { renderError } from "../core/errors.ts";
import { destroyLab, findLabs } from "../lab/lab.ts";
import { staleImages } from "../supplies/image.ts";
import { staleStaging } from "../supplies/supplies.ts";
import { liveOwner, tryLock } from "../tools/owner.ts";
import { Machines } from "../tools/libvirt-machine.ts";
import { accessIfThere } from "./access.ts";
import { staleCheckpoints } from "./checkpoint-store.ts";
import { ClusterDir, clusterNames } from "./cluster.ts";
import { hostOf, unmakeCluster } from "./down.ts";
import { undoFault } from "./fault-table.ts";
import { toStderr } from "./interrupt.ts";
import { declared, forget, forgetCluster, type Intent, type JournalEntry, orphans, ownEntries } from "./journal.ts";
import { describeObjects, removeObjects } from "./objects.ts";
import { passing, removePassing } from "./users.ts";

/**
 * Removes what killed runs left: clusters that were being made, or made for a process that has ended, labs without a cluster, staging
 * and temporary directories. Never touches what a living process is making or what is finished. What cannot be removed is said on
 * standard error and tried again by the next command.
 */
export async function reap(
  paths: { cache: string; state: string },
  say: (line: string) => void = () => {},
): Promise<Reaped> {
  const { cache, state } = paths;
  const [removed, stays]: [string[], string[]] = [[], []];
  const note = (line: string) => {
    removed.push(line);
    say(line);
  };
  for (const entry of inOrder(orphans(state))) {
    const { pid, command } = entry.owner;
    const what = describe(entry.intent);
    const unmade = await attempt(what, () => unmakeHeld(entry, state));
    const outcome = unmade?.outcome ?? "stays";
    if (outcome === "removed") note(`${what}, left by process ${pid}${command === "" ? "" : ` (${command})`}`);
    // What stays is tried again by the next command; this one may be the `down` that ends it for good.
    if (outcome === "stays") stays.push(unmade?.why === undefined ? what : `${what}: ${unmade.why}`);
    else forget(state, entry);
  }
  /** What stands in no journal. */
  const remove = async (what: string, work: () => Promise<boolean>) => {
    const done = await attempt(what, work);
    if (done === undefined) stays.push(what);
    else if (done) note(what);
  };
  for (const each of passing(state)) {
    const what = `cluster ${each.cluster.name}, made for process ${each.maker.pid}`;
    await remove(what, () => removePassing(each));
  }
  for (const lab of findLabs(state)) {
    if (new ClusterDir(state, lab.name).exists()) continue; // the file is written before the lab is made
    const what = `lab ${lab.name}, which belongs to no cluster`;
    await remove(what, () => destroyLab(lab.dir).then(() => true));
  }
  for (const dir of [...staleStaging(cache), ...staleImages(cache), ...staleCheckpoints(cache)])
    await remove(dir, async () => removePath(dir));
  return { removed, stays };
}

/** What was left, a line each. */
export interface Reaped {
  readonly removed: readonly string[];
  /** What could not be removed, or who else is at work on it. */
  readonly stays: readonly string[];
}

/**
 * Removes what this process has made and not finished, as the next command would if it were killed now: it is about to end, and
 * nobody may make anything anew (`declareNoMore`).
 */
export async function reapOwn(state: string, say: (line: string) => void): Promise<void> {
  const unmade: JournalEntry[] = [];
  for (const entry of inOrder(ownEntries(state))) {
    const { outcome } = await unmake(entry, state);
    if (outcome === "removed" && entry.intent.kind !== "path") say(describe(entry.intent));
    if (outcome !== "stays") unmade.push(entry);
  }
  // What was under way may have gone on meanwhile: only what is gone at this moment, the last one, is forgotten.
  for (const entry of unmade) if (isGone(entry, state)) forget(state, entry);
}

/** A state directory before the path it lies in: who is still making a cluster there is told by its files. */
const inOrder = (all: readonly JournalEntry[]): readonly JournalEntry[] =>
  all.toSorted((a, b) => Number(b.intent.kind === "state") - Number(a.intent.kind === "state"));

/** What became of something that was declared. It stays where it cannot be removed, or somebody else is at work on it. */
interface Unmade {
  readonly outcome: "removed" | "was gone" | "stays";
  /** Who is at work on it, where that is why it stays. */
  readonly why?: string;
}

/** Unmakes what a dead process has declared, unless somebody else has the cluster now, or has had it meanwhile and has unmade it. */
async function unmakeHeld(entry: JournalEntry, state: string): Promise<Unmade> {
  const { intent } = entry;
  if (intent.kind !== "cluster" && intent.kind !== "checkpoint") return unmake(entry, state);
  const lock = tryLock(new ClusterDir(state, intent.cluster).lockPath);
  if ("heldBy" in lock) {
    const why = `process ${lock.heldBy.pid} is at work on it: kpi ${lock.heldBy.command}`;
    return { outcome: "stays", why };
  }
  using _lock = lock;
  if (!declared(state).some(({ id }) => id === entry.id)) return { outcome: "was gone" };
  const unmade = await unmake(entry, state);
  if (intent.kind === "cluster" && unmade.outcome !== "stays") forgetCluster(state, intent.cluster);
  return unmade;
}

/** Unmakes what an entry declares. */
async function unmake({ intent }: JournalEntry, state: string): Promise<Unmade> {
  const done = await attempt(describe(intent), () => undo(intent, state));
  return { outcome: done === undefined ? "stays" : done ? "removed" : "was gone" };
}

/** Does one thing of many: that it fails is said, and ends nothing else. Undefined then. */
async function attempt<T>(what: string, work: () => Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    process.stderr.write(`kpi: could not remove ${what}: ${renderError(error)}\n`);
    return undefined;
  }
}

/** What a person calls that which was declared. */
function describe(intent: Intent): string {
  switch (intent.kind) {
    case "fault":
      return `${describeFault(intent.fault)} in cluster ${intent.cluster}`;
    case "objects":
      return describeObjects(intent);
    case "cluster":
      return `cluster ${intent.cluster}`;
    case "checkpoint":
      return `half a checkpoint of cluster ${intent.cluster}`;
    case "state":
      return `the clusters in ${intent.path}`;
    case "path":
      return intent.path;
  }
}

/** Removes it, and tells whether it was there. */
async function undo(intent: Intent, state: string): Promise<boolean> {
  switch (intent.kind) {
    case "fault":
      return undoFault(state, intent);
    case "objects":
      return removeObjects(state, intent);
    case "cluster": {
      const cluster = new ClusterDir(state, intent.cluster);
      // Where it runs its own state knows best: what was declared may have come to nothing.
      const host = cluster.exists() ? hostOf(cluster, toStderr) : intent.host;
      await unmakeCluster(cluster, host);
      return true;
    }
    case "checkpoint":
      rmSync(intent.path, { recursive: true, force: true });
      await wake(new ClusterDir(state, intent.cluster));
      return true;
    case "state":
      await removeState(intent.path);
      return true;
    case "path":
      return removePath(intent.path);
  }
}

function removePath(path: string): boolean {
  const there = existsSync(path);
  rmSync(path, { recursive: true, force: true });
  return there;
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

/**
 * Lets the nodes of a cluster go on that stood still when the process died which was saving them, and sets the clocks of all that run: a
 * node may have gone on with its old time. Does nothing when the cluster is gone; throws the first error when it has tried all.
 */
async function wake(cluster: ClusterDir): Promise<void> {
  const access = await accessIfThere(cluster);
  if (access === undefined) return;
  const machines = new Machines(access.uri);
  const states = new Map((await access.libvirt.domains()).map(({ name, state }) => [name, state]));
  const failed: unknown[] = [];
  // One after the other: a node whose neighbours are waking takes seconds to hear what time it is.
  for (const { name } of access.plan.nodes)
    if (["running", "paused"].includes(states.get(name) ?? "gone"))
      await machines.goOn(name).catch((error: unknown) => failed.push(error));
  if (failed.length > 0) throw failed[0];
}
