import { copyFileSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Duration } from "../core/duration.ts";
import { errorJson, exitCode, KpiError, unlessRefused } from "../core/errors.ts";
import type { KpiPaths } from "../core/paths.ts";
import type { Plan } from "../core/plan.ts";
import type { RunRecord } from "../core/record.ts";
import { checkLabDir } from "../lab/layout.ts";
import { onCommandEnd } from "../tools/exec.ts";
import { writeWhole } from "../tools/whole-file.ts";
import { type Access, accessIfThere } from "./access.ts";
import { checkpointSpace } from "./checkpoint-store.ts";
import { ClusterDir, type ClusterState } from "./cluster.ts";
import { unmakeAfter } from "./down.ts";
import { runStages } from "./engine.ts";
import { collectEvidence } from "./evidence.ts";
import { fingerprint } from "./fingerprint.ts";
import { holdCluster } from "./hold.ts";
import { type Declared, declare } from "./journal.ts";
import { RunLog, type RunListener, runId } from "./log.ts";
import { makeWay, whyReplaced } from "./replacement.ts";
import { type Seen, upStages } from "./stages.ts";
import { checkpointStage, warmStage } from "./up-warm.ts";
import { keepForSuite } from "./suite-record.ts";
import { worksFor } from "./users.ts";

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
 * Makes the cluster that the plan says. One that it replaces goes only when all that is needed to make the new one is there, or a
 * checkpoint fits: should that turn out to be damaged, the cold path is taken, and may fail. On failure or interrupt all that was made is
 * unmade (unless kept), evidence stays in the run's directory, and the first cause is thrown. A second `up` of the same cluster at the same
 * time is told so.
 */
export async function up(options: UpOptions): Promise<UpResult> {
  const { paths, plan } = options;
  const cluster = new ClusterDir(paths.state, plan.cluster);
  // What is wrong with the surroundings is said before anything is made, not when a stage stumbles over it.
  if (plan.host.kind === "lab") {
    checkLabDir(cluster.labDir);
    if (options.checkpoint) checkpointSpace();
  }
  using _lock = holdCluster(cluster);
  using log = new RunLog(runId(plan.cluster, new Date()), cluster.runsDir, [options.listen]);
  using _commands = onCommandEnd((ended) => log.emit({ type: "command", ...ended }));
  log.emit({
    type: "run-started",
    run: log.run,
    command: "up",
    spec: options.spec,
    why: options.why,
    plan: plan.digest,
    host: fingerprint(),
  });
  try {
    writeWhole(log.path("plan.json"), `${JSON.stringify(plan, null, 2)}\n`);
    const { access, unchanged } = await joinOrMake(options, cluster, log);
    log.emit({ type: "run-ended", outcome: "passed", elapsed: log.elapsed as Duration });
    return { record: log.record, access, unchanged };
  } catch (error) {
    const outcome = exitCode(error) === 130 ? "interrupted" : "failed";
    const elapsed = log.elapsed as Duration;
    await unlessRefused(() => log.emit({ type: "run-ended", outcome, elapsed, error: errorJson(error) }));
    throw error;
  } finally {
    if (log.record.stages.some(({ stage }) => stage === "doctor")) await unlessRefused(() => keepForSuite(log.dir));
  }
}

/** The cluster that is there and may stay, one from a checkpoint, or a new one. */
async function joinOrMake(options: UpOptions, cluster: ClusterDir, log: RunLog): Promise<Omit<UpResult, "record">> {
  const { plan, warm } = options;
  const note = (text: string) => log.emit({ type: "note", text });
  const before = cluster.read();
  if (before !== undefined) {
    const running = await accessIfThere(cluster);
    const why = await whyReplaced(options, before, running, note);
    if (why === undefined && running !== undefined) {
      note(`cluster ${plan.cluster} is running and unchanged`);
      if (worksFor() === undefined) stays(cluster, before);
      return { access: running, unchanged: true };
    }
    why?.forEach(note);
  }
  const access = (warm ? await warmStage(options, cluster, log) : undefined) ?? (await make(options, cluster, log));
  return { access, unchanged: false };
}

/** Makes the cluster by all stages. */
async function make(options: UpOptions, cluster: ClusterDir, log: RunLog): Promise<Access> {
  const { paths, plan, signal } = options;
  const seen: Partial<Seen> = {};
  const since = new Date().toISOString();
  const state = { plan, spec: options.spec, run: log.run, image: "", since, goesWith: worksFor() };
  const stages = upStages({ paths, plan, cluster, log }, seen);
  let begun: Declared | undefined;
  let [touched, isReady] = [false, false];
  const keep = () => unlessRefused(() => keepConsoles(seen.apply?.access, log));
  const apply = async (stop: AbortSignal) => {
    stop.throwIfAborted();
    touched = true;
    await makeWay(cluster, (text) => log.emit({ type: "note", stage: "apply", text }));
    stop.throwIfAborted(); // that took its time
    begun = declare(paths.state, { kind: "cluster", cluster: plan.cluster, host: plan.host });
    cluster.write({ ...state, phase: "making" });
    return stages.apply(stop);
  };
  try {
    await runStages(
      plan.stages,
      { ...stages, apply },
      (body) => log.emit(body),
      signal,
      () => log.record.factor ?? 1,
    );
    cluster.write({ ...state, phase: "ready", image: seen.image?.key ?? "" });
    const access = seen.apply?.access;
    if (access === undefined) throw new Error("all stages passed, and apply gave nothing");
    isReady = true;
    begun?.settle(); // it stays, whatever becomes of the checkpoint
    if (options.checkpoint && plan.host.kind === "lab") {
      seen.apply?.watching[Symbol.dispose](); // a node that stands still is not lost
      await checkpointStage(options, access, log);
    }
    await keep();
    return access;
  } catch (error) {
    seen.apply?.watching[Symbol.dispose](); // what happens to the nodes from here on is our own doing
    await keep(); // consoles go with the lab
    if (isReady) throw error; // interrupted while the checkpoint was made
    const details = touched || !cluster.exists() ? [] : [`cluster ${cluster.name} stays as it was`];
    const first = error instanceof KpiError ? error.with({ evidence: [log.path("events.ndjson")], details }) : error;
    if (begun === undefined) throw first; // nothing has been made
    throw await afterFailure(first, options, cluster, log, seen.apply?.access, begun);
  } finally {
    seen.apply?.watching[Symbol.dispose]();
  }
}

/** A cluster for which a person has asked goes with nobody any more. */
function stays(cluster: ClusterDir, { goesWith, ...state }: ClusterState): void {
  if (goesWith !== undefined) cluster.write(state);
}

/** After a failure or an interrupt: evidence first, then everything is unmade unless it is to be kept. Returns the error with where to look. */
async function afterFailure(
  error: unknown,
  options: UpOptions,
  cluster: ClusterDir,
  log: RunLog,
  access: Access | undefined,
  begun: Declared,
): Promise<unknown> {
  const interrupted = exitCode(error) === 130;
  let outcome = error;
  if (access !== undefined && !interrupted) {
    log.emit({ type: "note", text: "collecting evidence" });
    await unlessRefused(() => collectEvidence(access, log.path("evidence"), options.signal));
    if (error instanceof KpiError) outcome = error.with({ evidence: [log.path("evidence")] });
  }
  const state = cluster.read();
  if (options.keep && !interrupted && access !== undefined && state !== undefined) {
    cluster.write({ ...state, phase: "kept" });
    begun.settle();
    log.emit({
      type: "note",
      text: `kept for a look: kpi status, kpi ssh NODE, kpi console NODE; kpi down ${cluster.name} removes it`,
    });
    return outcome;
  }
  log.emit({ type: "note", text: "removing what was made" });
  return unmakeAfter(outcome, cluster, begun);
}

/** Copies the consoles from the lab, which goes, to the run, which stays. */
function keepConsoles(access: Access | undefined, log: RunLog): void {
  const dir = access?.lab?.consoleDir.host;
  if (dir === undefined || !existsSync(dir)) return;
  mkdirSync(log.path("consoles"), { recursive: true, mode: 0o700 });
  for (const file of readdirSync(dir)) copyFileSync(join(dir, file), log.path("consoles", file));
}
