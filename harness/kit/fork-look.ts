import { join } from "node:path";
import { until } from "../core/deadline.ts";
import { minutes } from "../core/duration.ts";
import { emptyRecord } from "../core/record.ts";
import type { RunningCluster } from "../run/running.ts";
import { type Look, nodesFor, observers, recordedSeen, type SeenAt } from "./observers.ts";
import type { Session } from "./session.ts";
import type { SharedRun } from "./shared-run.ts";
import { startWorkload, type Workload } from "./workload.ts";

/** Hang guard of all looks together; a broken node is asked in vain for a while. */
const limit = minutes(5);

/** Looks at a fork as it is now, by the observers that look at the shared cluster. A node is probed once for all stages. */
export async function lookAtFork<At extends keyof SeenAt>(
  running: RunningCluster,
  session: Session,
  spec: string,
  stages: readonly At[],
): Promise<Pick<SeenAt, At>> {
  const run = runOf(running);
  let workload: Promise<Workload> | undefined;
  const look: Look = {
    ...{ run, session, spec, recorded: recordedSeen(run) },
    nodes: nodesFor(session, stages, true),
    others: () => Promise.resolve(), // nobody judges how long a look at a fork takes
    workload: () => (workload ??= startWorkload(session.access)),
  };
  try {
    const observed = Promise.all(stages.map(async (stage) => [stage, await observers[stage].observe(look)] as const));
    const seen = await until(`the looks at ${running.name} did not end`, limit, () => observed);
    return Object.fromEntries(seen) as unknown as Pick<SeenAt, At>;
  } finally {
    const made = await workload?.catch(() => undefined);
    await made?.[Symbol.asyncDispose]();
  }
}

/** A fork's run: it has no stages of its own, and all of its original's have passed. */
function runOf({ access, plan }: RunningCluster): SharedRun {
  const { cluster } = access;
  return {
    plan,
    cluster,
    dir: join(cluster.runsDir, cluster.read()?.run ?? ""),
    over: true,
    isOurs: () => Promise.resolve(false),
    record: () => emptyRecord,
    stage: () => Promise.resolve(),
    access: () => Promise.resolve(access),
  };
}
