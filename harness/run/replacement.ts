import { existsSync } from "node:fs";
import { renderError } from "../core/errors.ts";
import type { Plan } from "../core/plan.ts";
import { planChanges } from "../report/plan.ts";
import type { Access } from "./access.ts";
import type { ClusterDir, ClusterState } from "./cluster.ts";
import { hostOf, unmakeCluster } from "./down.ts";
import { declare, forgetCluster } from "./journal.ts";
import { whyUnhealthy } from "./watch.ts";

/** What a person must know before a cluster is replaced: why, what differs, and which nodes go; undefined when it stays. */
export async function whyReplaced(
  { plan, fresh, signal }: { readonly plan: Plan; readonly fresh: boolean; readonly signal: AbortSignal },
  before: ClusterState,
  running: Access | undefined,
  note: (text: string) => void,
): Promise<string[] | undefined> {
  const nodes = before.plan.nodes.map(({ name }) => name).join(", ");
  const changes = planChanges(before.plan, plan);
  if (changes.length > 0) {
    return [
      `the spec has changed: nodes ${nodes}, their disks and volumes are replaced`,
      ...changes.map((change) => `  ${change}`),
    ];
  }
  const onMissing = (what: string) => note(`cluster ${plan.cluster} is given time to become well: ${what}`);
  const why = async () => {
    if (fresh) return "as asked by --fresh";
    if (running === undefined) return "its lab does not run any more";
    if (before.phase !== "ready") return `it is ${before.phase}`;
    if (before.plan.digest !== plan.digest) return "its stages or budgets have changed";
    const unhealthy = await whyUnhealthy(running, { signal, onMissing });
    return unhealthy === undefined ? undefined : `it is not healthy: ${unhealthy}`;
  };
  const reason = await why();
  if (reason === undefined) return undefined;
  return [`cluster ${plan.cluster} is made anew, ${reason}: nodes ${nodes}, their disks and volumes are replaced`];
}

/**
 * Removes what is there of a cluster that is made anew, from wherever it runs, and forgets what was declared of it. It is declared itself
 * while it goes: when this process dies meanwhile, or it cannot be removed, the next command goes on with that.
 */
export async function makeWay(cluster: ClusterDir, say: (line: string) => void): Promise<void> {
  if (!existsSync(cluster.dir) && !existsSync(cluster.labDir)) return;
  const host = hostOf(cluster, say);
  declare(cluster.stateDir, { kind: "cluster", cluster: cluster.name, host });
  try {
    await unmakeCluster(cluster, host);
  } catch (error) {
    say(`what there was of cluster ${cluster.name} could not be removed, kpi reap tries again: ${renderError(error)}`);
    throw error;
  }
  forgetCluster(cluster.stateDir, cluster.name);
}
