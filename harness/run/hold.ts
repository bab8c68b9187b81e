import { KpiError } from "../core/errors.ts";
import { tryLock } from "../tools/owner.ts";
import type { ClusterDir } from "./cluster.ts";

/** What is said of a cluster that somebody else is at work on. */
export const heldByAnother = "is being changed by another kpi";

/** Takes the cluster for this process, or says who has it. */
export function holdCluster(cluster: ClusterDir): Disposable {
  const lock = tryLock(cluster.lockPath);
  if (!("heldBy" in lock)) return lock;
  throw new KpiError("busy", `cluster ${cluster.name} ${heldByAnother}`, {
    got: `process ${lock.heldBy.pid}: kpi ${lock.heldBy.command}`,
    hint: "wait for it to end, or stop it",
  });
}
