import { copyFileSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { join } from "node:path";
import { type Duration, formatDuration } from "../core/duration.ts";
import { errorJson, exitCode, KpiError, renderError } from "../core/errors.ts";
import type { Progress } from "../core/event.ts";
import type { KpiPaths } from "../core/paths.ts";
import type { Plan } from "../core/plan.ts";
import type { RunRecord } from "../core/record.ts";
import { planChanges } from "../report/plan.ts";
import { type Access, openAccess } from "./access.ts";
import { makeCheckpoint } from "./checkpoint.ts";
import { justReady } from "./checkpoint-key.ts";
import { checkpointSpace } from "./checkpoint-store.ts";
import { ClusterDir, type ClusterState, writeWhole } from "./cluster.ts";
import { unmakeCluster } from "./down.ts";
import { runStages } from "./engine.ts";
import { collectEvidence } from "./evidence.ts";
import { forkCheckpoint, type Mark } from "./fork.ts";
import { holdCluster } from "./hold.ts";
import { declare } from "./journal.ts";
import { RunLog, type RunListener, runId } from "./log.ts";
import { fittingCheckpoint } from "./running.ts";
import { type Seen, upStages } from "./stages.ts";
import { isHealthy } from "./watch.ts";

export interface UpOptions {
  readonly paths: KpiPaths;
  readonly plan: Plan;
  /** The spec's path, and why it is this one: the first line of the run. */
  readonly spec: string;
  readonly why: string;
  /** Make it anew even if it runs unchanged. */
  readonly fresh: boolean;
  /** Leave a cluster that failed for a look. */
  readonly keep: boolean;
  /** Go on from a checkpoint of exactly this cluster, where there is one that may be used. */
  readonly warm: boolean;
  /** Make a checkpoint of it once it is Ready, in a lab. */
  readonly checkpoint: boolean;
  readonly signal: AbortSignal;
  readonly listen: RunListener;
}

/** How `up` ended, when it ended well. */
export interface UpResult {
  readonly record: RunRecord;
  readonly access: Access;
  /** Whether it was running already, unchanged. */
  readonly unchanged: boolean;
}

/**
 * Makes the cluster that the plan says. On failure or interrupt all that was made is unmade (unless kept), evidence stays
 * in the run's directory, and the first cause is thrown. A second `up` of the same cluster at the same time is told so.
 */
export async function up(options: UpOptions): Promise<UpResult> {
  const { paths, plan, signal } = options;
  const cluster = new ClusterDir(paths.state, plan.cluster);
  using _lock = holdCluster(cluster);
  using log = new RunLog(runId(plan.cluster, new Date()), cluster.runsDir, [options.listen]);
  log.emit({
    type: "run-started",
    run: log.run,
    command: "up",
    spec: options.spec,
    why: options.why,
    plan: plan.digest,
    host: fingerprint(),
  });

  const before = cluster.read();
  if (before !== undefined) {
    const running = await openAccess(cluster).then(
      ({ access }) => access,
      () => undefined,
    );
    if (
      !options.fresh &&
      before.phase === "ready" &&
      running !== undefined &&
      before.plan.digest === plan.digest &&
      (await isHealthy(running))
    ) {
      log.emit({ type: "note", text: `cluster ${plan.cluster} is running and unchanged` });
      log.emit({ type: "run-ended", outcome: "passed", elapsed: log.elapsed as Duration });
      return { record: log.record, access: running, unchanged: true };
    }
    for (const line of replacement(before, plan, running !== undefined, options.fresh))
      log.emit({ type: "note", text: line });
  }

  if (options.warm) {
    const access = await warmStage(options, cluster, log, before);
    if (access !== undefined) {
      log.emit({ type: "run-ended", outcome: "passed", elapsed: log.elapsed as Duration });
      return { record: log.record, access, unchanged: false };
    }
  }
  using intent = declare(paths.state, { kind: "cluster", cluster: plan.cluster, host: plan.host });
  const seen: Partial<Seen> = {};
  try {
    if (before !== undefined || existsSync(cluster.labDir))
      await unmakeCluster(cluster, before?.plan.host ?? plan.host);
    writeWhole(log.path("plan.json"), `${JSON.stringify(plan, null, 2)}\n`);
    const state = { plan, spec: options.spec, run: log.run, image: "", since: new Date().toISOString() };
    cluster.write({ ...state, phase: "making" });
    await runStages(plan.stages, upStages({ paths, plan, cluster, log }, seen), (body) => log.emit(body), signal);
    cluster.write({ ...state, phase: "ready", image: seen.image?.key ?? "" });
    const access = seen.apply?.access;
    if (access === undefined) throw new Error("all stages passed, and apply gave nothing");
    intent.settle(); // it is Ready, and stays whatever becomes of the checkpoint
    if (options.checkpoint && plan.host.kind === "lab") {
      seen.apply?.watching[Symbol.dispose](); // a node that stands still is not lost
      await checkpointStage(options, access, log);
    }
    log.emit({ type: "run-ended", outcome: "passed", elapsed: log.elapsed as Duration });
    return { record: log.record, access, unchanged: false };
  } catch (error) {
    if (cluster.read()?.phase === "ready") throw ended(error, log); // interrupted while the checkpoint was made
    throw await afterFailure(error, options, cluster, log, seen.apply?.access);
  } finally {
    seen.apply?.watching[Symbol.dispose]();
    keepConsoles(seen.apply?.access, log);
    intent.settle();
  }
}

/**
 * Makes the checkpoint. The cluster is Ready without it: what goes wrong here is said in the record and the timeline, and fails
 * nothing. Only an interrupt is passed on.
 */
async function checkpointStage({ paths, signal }: UpOptions, access: Access, log: RunLog): Promise<void> {
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
async function warmStage(
  { paths, plan, signal }: UpOptions,
  cluster: ClusterDir,
  log: RunLog,
  before: ClusterState | undefined,
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
    if (before !== undefined || existsSync(cluster.labDir))
      await unmakeCluster(cluster, before?.plan.host ?? plan.host);
    const onMark = ({ what }: Mark) => log.emit({ type: "note", stage, text: what });
    const { access } = await forkCheckpoint({ checkpoint: found.stored, paths, cluster, run: log.run, signal, onMark });
    end("passed");
    return access;
  } catch (error) {
    if (exitCode(error) === 130 || !(error instanceof KpiError)) throw error;
    return void end("skipped", `${error.what}; the cold path is taken`);
  }
}

/** Closes the record of a run that ends with an error. */
function ended(error: unknown, log: RunLog): unknown {
  const outcome = exitCode(error) === 130 ? "interrupted" : "failed";
  log.emit({ type: "run-ended", outcome, elapsed: log.elapsed as Duration, error: errorJson(error) });
  return error;
}

/** What a person must know before a cluster is replaced: why, what differs, and which nodes go. */
function replacement(before: ClusterState, plan: Plan, running: boolean, fresh: boolean): string[] {
  const nodes = before.plan.nodes.map(({ name }) => name).join(", ");
  const changes = planChanges(before.plan, plan);
  if (changes.length > 0) {
    return [
      `the spec has changed: nodes ${nodes}, their disks and volumes are replaced`,
      ...changes.map((change) => `  ${change}`),
    ];
  }
  const why = fresh
    ? "as asked by --fresh"
    : running
      ? `it is ${before.phase === "ready" ? "not healthy" : before.phase}`
      : "its lab does not run any more";
  return [`cluster ${plan.cluster} is made anew, ${why}: nodes ${nodes}, their disks and volumes are replaced`];
}

/** After a failure or an interrupt: evidence first, then everything is unmade unless it is to be kept. Returns the error with where to look. */
async function afterFailure(
  error: unknown,
  options: UpOptions,
  cluster: ClusterDir,
  log: RunLog,
  access: Access | undefined,
): Promise<unknown> {
  const interrupted = exitCode(error) === 130;
  const evidence: string[] = [log.path("events.ndjson")];
  if (access !== undefined && !interrupted) {
    log.emit({ type: "note", text: "collecting evidence" });
    await collectEvidence(access, log.path("evidence"));
    evidence.push(log.path("evidence"));
  }
  keepConsoles(access, log);
  let outcome = error instanceof KpiError ? error.with({ evidence }) : error;
  const state = cluster.read();
  if (options.keep && !interrupted && access !== undefined && state !== undefined) {
    cluster.write({ ...state, phase: "kept" });
    log.emit({
      type: "note",
      text: `kept for a look: kpi status, kpi ssh NODE, kpi console NODE; kpi down ${cluster.name} removes it`,
    });
  } else {
    log.emit({ type: "note", text: "removing what was made" });
    await unmakeCluster(cluster, options.plan.host).catch((second: unknown) => {
      // The first cause counts; that the clean-up failed too must not be lost.
      const more = `the clean-up failed as well: ${second instanceof Error ? second.message : String(second)}; kpi reap tries again`;
      if (outcome instanceof KpiError) outcome = outcome.with({ details: [more] });
    });
  }
  log.emit({
    type: "run-ended",
    outcome: interrupted ? "interrupted" : "failed",
    elapsed: log.elapsed as Duration,
    error: errorJson(outcome),
  });
  return outcome;
}

/** Copies the consoles from the lab, which goes, to the run, which stays. */
function keepConsoles(access: Access | undefined, log: RunLog): void {
  const dir = access?.lab?.consoleDir.host;
  if (dir === undefined || !existsSync(dir)) return;
  mkdirSync(log.path("consoles"), { recursive: true, mode: 0o700 });
  for (const file of readdirSync(dir)) copyFileSync(join(dir, file), log.path("consoles", file));
}

/** What a timing can be compared by: the machine it was measured on. */
function fingerprint(): Record<string, string | number> {
  return {
    kernel: release(),
    cpu: cpus()[0]?.model ?? "unknown",
    cpus: cpus().length,
    memoryMiB: Math.round(totalmem() / 1_048_576),
    load: loadavg()[0] ?? 0,
  };
}
