import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Environment } from "../core/paths.ts";
import { entries } from "../tools/directory.ts";
import { isAlive, ownerNamed, type Process, processName, thisProcess, tryLock } from "../tools/owner.ts";
import { ClusterDir, clusterNames, type ClusterState } from "./cluster.ts";
import { unmakeCluster } from "./down.ts";
import { forgetCluster } from "./journal.ts";

/** Under this name `kpi up` is told for which process it makes a cluster, and that it is no person who asks. */
const forVariable = "KPI_FOR";

/** The environment of a `kpi up` that makes a cluster for this process, which goes when that has ended and nobody uses it. */
export const forThisProcess = (): Readonly<Record<string, string>> => ({ [forVariable]: processName(thisProcess()) });

/** For which process this kpi works; undefined where a person has called it. */
export const worksFor = (env: Environment = process.env): Process | undefined => ownerNamed(env[forVariable] ?? "");

/** Whether a cluster was made for this process, and is still its own. */
export const madeForThis = ({ goesWith }: ClusterState): boolean =>
  goesWith !== undefined && processName(goesWith) === processName(thisProcess());

const usersDir = (cluster: ClusterDir) => cluster.path("users");

/** Says that this process uses a cluster, as long as both live: it is not taken away meanwhile, unless by `kpi down`. */
export function markInUse(cluster: ClusterDir): void {
  const dir = usersDir(cluster);
  try {
    if (!existsSync(dir)) mkdirSync(dir, { mode: 0o700 }); // and nothing above it: the cluster may have gone
    forgetEnded(cluster);
    writeFileSync(join(dir, processName(thisProcess())), "", { mode: 0o600 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "EEXIST") return markInUse(cluster); // somebody else was quicker
    if (code !== "ENOENT") throw error; // there is no such cluster, or it goes at this moment
  }
}

/** The processes that use a cluster. */
export const users = (cluster: ClusterDir): readonly Process[] =>
  entries(usersDir(cluster))
    .flatMap((name) => ownerNamed(name) ?? [])
    .filter(isAlive);

/** Those but this one. */
export const otherUsers = (cluster: ClusterDir): readonly Process[] =>
  users(cluster).filter(({ pid }) => pid !== process.pid);

/** Those that have ended do not use it any more. */
function forgetEnded(cluster: ClusterDir): void {
  for (const name of entries(usersDir(cluster))) {
    const user = ownerNamed(name);
    if (user === undefined || !isAlive(user)) rmSync(join(usersDir(cluster), name), { force: true });
  }
}

/** A cluster whose maker has ended. */
export interface Passing {
  readonly cluster: ClusterDir;
  readonly maker: Process;
  /** Who still uses it: it goes when they have ended. */
  readonly users: readonly Process[];
}

/** The clusters that go, or will: they were made for processes that have ended, and no person has asked for them since. */
export const passing = (state: string): readonly Passing[] =>
  clusterNames(state).flatMap((name) => asPassing(new ClusterDir(state, name)) ?? []);

function asPassing(cluster: ClusterDir): Passing | undefined {
  const maker = madeFor(cluster);
  return maker === undefined || isAlive(maker) ? undefined : { cluster, maker, users: otherUsers(cluster) };
}

/** Removes a cluster that was made for a process which has ended. False where it stays: somebody uses it, or is at work on it. */
export async function removePassing({ cluster }: Passing): Promise<boolean> {
  const lock = tryLock(cluster.lockPath);
  if ("heldBy" in lock) return false;
  using _lock = lock;
  // Whoever begins to use it does so before looking whether somebody has it: from here on nobody new comes.
  if (asPassing(cluster)?.users.length !== 0) return false;
  await unmakeCluster(cluster, cluster.read()?.plan.host ?? { kind: "lab" });
  forgetCluster(cluster.stateDir, cluster.name);
  return true;
}

/** For whom a cluster that is Ready was made; one that is being made is unmade otherwise (journal.ts), and one that was kept stays. */
function madeFor(cluster: ClusterDir): Process | undefined {
  try {
    const state = cluster.read();
    return state?.phase === "ready" ? state.goesWith : undefined;
  } catch {
    return undefined; // it cannot be read: `kpi down` says so
  }
}
