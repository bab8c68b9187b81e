import { copyFileSync, existsSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import type { Duration } from "../core/duration.ts";
import { errorJson, exitCode, KpiError, unlessRefused } from "../core/errors.ts";
import type { KpiPaths } from "../core/paths.ts";
import type { Plan } from "../core/plan.ts";
import type { RunRecord } from "../core/record.ts";
import { planChanges } from "../report/plan.ts";
import { onCommandEnd } from "../tools/exec.ts";
import { writeWhole } from "../tools/whole-file.ts";
import { type Access, accessIfThere } from "./access.ts";
import { ClusterDir, type ClusterState } from "./cluster.ts";
import { unmakeCluster } from "./down.ts";
import { runStages } from "./engine.ts";
import { collectEvidence } from "./evidence.ts";
import { fingerprint } from "./fingerprint.ts";
import { holdCluster } from "./hold.ts";
import { declare } from "./journal.ts";
import { RunLog, type RunListener, runId } from "./log.ts";
import { type Seen, upStages } from "./stages.ts";
import { checkpointStage, warmStage } from "./up-warm.ts";
import { keepForSuite } from "./suite-record.ts";
import { worksFor } from "./users.ts";
import { whyUnhealthy } from "./watch.ts";

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
  writeWhole(log.path("plan.json"), `${JSON.stringify(plan, null, 2)}\n`);

  const before = cluster.read();
  if (before !== undefined) {
    const running = await accessIfThere(cluster);
    const note = (text: string) => log.emit({ type: "note", text });
    const why = await replaced(options, before, running, note);
    if (why === undefined && running !== undefined) {
      note(`cluster ${plan.cluster} is running and unchanged`);
      if (worksFor() === undefined) stays(cluster, before);
      log.emit({ type: "run-ended", outcome: "passed", elapsed: log.elapsed as Duration });
      return { record: log.record, access: running, unchanged: true };
    }
    why?.forEach(note);
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
    const since = new Date().toISOString();
    const state = { plan, spec: options.spec, run: log.run, image: "", since, goesWith: worksFor() };
    cluster.write({ ...state, phase: "making" });
    await runStages(
      plan.stages,
      upStages({ paths, plan, cluster, log }, seen),
      (body) => log.emit(body),
      signal,
      () => log.record.factor ?? 1,
    );
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
    seen.apply?.watching[Symbol.dispose](); // what happens to the nodes from here on is our own doing
    if (cluster.read()?.phase === "ready") throw ended(error, log); // interrupted while the checkpoint was made
    throw await afterFailure(error, options, cluster, log, seen.apply?.access);
  } finally {
    seen.apply?.watching[Symbol.dispose]();
    await unlessRefused(() => keepConsoles(seen.apply?.access, log));
    await unlessRefused(() => keepForSuite(log.dir));
    intent.settle();
  }
}

/** A cluster for which a person has asked goes with nobody any more. */
function stays(cluster: ClusterDir, { goesWith, ...state }: ClusterState): void {
  if (goesWith !== undefined) cluster.write(state);
}

/** Closes the record of a run that ends with an error. */
function ended(error: unknown, log: RunLog): unknown {
  const outcome = exitCode(error) === 130 ? "interrupted" : "failed";
  log.emit({ type: "run-ended", outcome, elapsed: log.elapsed as Duration, error: errorJson(error) });
  return error;
}

/** What a person must know before a cluster is replaced: why, what differs, and which nodes go; undefined when it stays. */
async function replaced(
  { plan, fresh, signal }: UpOptions,
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
    await unlessRefused(() => collectEvidence(access, log.path("evidence")));
    evidence.push(log.path("evidence"));
  }
  await unlessRefused(() => keepConsoles(access, log));
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
