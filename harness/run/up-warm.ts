import { type Duration, formatDuration } from "../core/duration.ts";
import { errorJson, exitCode, KpiError, renderError } from "../core/errors.ts";
import type { Progress } from "../core/event.ts";
import type { KpiPaths } from "../core/paths.ts";
import type { Plan } from "../core/plan.ts";
import type { Access } from "./access.ts";
import { makeCheckpoint } from "./checkpoint.ts";
import { justReady } from "./checkpoint-key.ts";
import { checkpointSpace } from "./checkpoint-store.ts";
import type { ClusterDir } from "./cluster.ts";
import { forkCheckpoint, type Mark } from "./fork.ts";
import type { RunLog } from "./log.ts";
import { makeWay } from "./replacement.ts";
import { fittingCheckpoint } from "./running.ts";
import { worksFor } from "./users.ts";

interface StageOptions {
  readonly paths: KpiPaths;
  readonly signal: AbortSignal;
}

/**
 * Makes the checkpoint. The cluster is Ready without it: what goes wrong here is said in the record and the timeline, and fails
 * nothing. Only an interrupt is passed on.
 */
export async function checkpointStage({ paths, signal }: StageOptions, access: Access, log: RunLog): Promise<void> {
  const stage = "checkpoint";
  const began = performance.now();
  const elapsed = () => (performance.now() - began) as Duration;
  const skip = (why: string) => log.emit({ type: "stage-ended", stage, outcome: "skipped", elapsed: elapsed(), why });
  log.emit({ type: "stage-started", stage });
  try {
    if (checkpointSpace() === 0) return skip("KPI_CHECKPOINT_SPACE is 0");
    const state = access.cluster.read();
    if (state === undefined) throw new Error("a Ready cluster without state");
    const onProgress = (report: Progress) => log.emit({ type: "progress", stage, ...report });
    const { manifest } = await makeCheckpoint({ access, state, paths, moment: justReady, signal, onProgress });
    const size = `${(manifest.size / 1e9).toFixed(1)} GB`;
    const text = `${manifest.id}, ${size}; the nodes stood still ${formatDuration(manifest.pausedFor)}`;
    log.emit({ type: "note", stage, text });
    log.emit({ type: "stage-ended", stage, outcome: "passed", elapsed: elapsed() });
  } catch (error) {
    log.emit({
      ...{ type: "stage-ended", stage, outcome: "failed", elapsed: elapsed(), error: errorJson(error) },
      why: renderError(error).split("\n")[0] ?? "",
    });
    if (exitCode(error) === 130) throw error;
  }
}

/** Tries to go on from a checkpoint. Undefined, with the reason in the record, when the cluster must be made the cold way. */
export async function warmStage(
  { paths, plan, signal }: StageOptions & { readonly plan: Plan },
  cluster: ClusterDir,
  log: RunLog,
): Promise<Access | undefined> {
  const stage = "warm";
  const began = performance.now();
  const end = (outcome: "passed" | "skipped", why?: string) => {
    const elapsed = (performance.now() - began) as Duration;
    log.emit({ type: "stage-ended", stage, outcome, elapsed, ...(why === undefined ? {} : { why }) });
  };
  log.emit({ type: "stage-started", stage });
  try {
    const found = await fittingCheckpoint(plan, paths, signal);
    if ("why" in found) return void end("skipped", `${found.why}; the cold path is taken`);
    signal.throwIfAborted();
    await makeWay(cluster, (text) => log.emit({ type: "note", stage, text }));
    const onMark = ({ what }: Mark) => log.emit({ type: "note", stage, text: what });
    const of = { checkpoint: found.stored, paths, cluster, run: log.run, goesWith: worksFor(), signal, onMark };
    const { access, intent } = await forkCheckpoint(of);
    intent.settle();
    end("passed");
    return access;
  } catch (error) {
    if (exitCode(error) === 130 || !(error instanceof KpiError)) throw error;
    return void end("skipped", `${error.what}; the cold path is taken`);
  }
}
