import { join } from "node:path";
import { judgeStages } from "../core/calibration.ts";
import { notYet, until } from "../core/deadline.ts";
import { type Duration, minutes, seconds } from "../core/duration.ts";
import { errorFields, type ErrorFields, type ErrorKind, KpiError } from "../core/errors.ts";
import type { RunEvent, StageName } from "../core/event.ts";
import { type KpiPaths, kpiPaths, projectRoot } from "../core/paths.ts";
import type { Plan } from "../core/plan.ts";
import { emptyRecord, fold, type RunRecord } from "../core/record.ts";
import { type Access, accessIfThere, openAccess } from "../run/access.ts";
import { ClusterDir } from "../run/cluster.ts";
import { clusterOf } from "../run/log.ts";
import { coldRun, latestRun, readRecord } from "../run/run-files.ts";
import { fittingCheckpoint } from "../run/running.ts";
import { coldVariable, passingVariable } from "../run/suite-record.ts";
import { forThisProcess, madeForThis, markInUse, otherUsers } from "../run/users.ts";
import { openView } from "../run/view.ts";
import { whyUnhealthy } from "../run/watch.ts";
import { start } from "../tools/exec.ts";
import { liveOwner, type Owner } from "../tools/owner.ts";
import { tell, waitingFor } from "./progress.ts";

/** A stage that did not pass: why its claims cannot be judged. */
export class Blocked extends KpiError {
  constructor(
    readonly by: StageName,
    cause: string,
    fields: ErrorFields = {},
  ) {
    super("blocked", `blocked by ${by}: ${cause}`, fields);
  }
}

/** The one run of a spec that all spec files of this machine's state directory share. */
export interface SharedRun {
  readonly plan: Plan;
  readonly cluster: ClusterDir;
  /** Whether nothing is being done to the cluster any more: from here on it stays as it is. */
  readonly over: boolean;
  /** Whether this process has made it, so that it may remove it, once it is over: nobody else uses it, and no person has asked for it since. */
  isOurs(): Promise<boolean>;
  /** The run's record as it is now. */
  record(): RunRecord;
  /** Where its record lies. */
  readonly dir: string;
  /** Resolves when the stage has passed, for `ready` when the run is over; rejects with `Blocked` when it cannot any more. */
  stage(name: StageName): Promise<void>;
  access(): Promise<Access>;
}

/**
 * Joins the run of a spec, or starts it by the same command that a user types. A running, unchanged cluster is joined as
 * it is; one that another process is making is waited for; otherwise `kpi up` makes it, from a checkpoint where one fits, while
 * claims of finished stages run.
 */
export async function joinRun(spec: string, plan: Plan, paths = kpiPaths()): Promise<SharedRun> {
  const cluster = new ClusterDir(paths.state, plan.cluster);
  const before = latestRun(paths.state) ?? "";
  for (;;) {
    await othersDone(cluster);
    markInUse(cluster);
    if (otherAtWork(cluster) !== undefined) continue; // who may be removing it, having looked for users before
    const state = cluster.read();
    if (state?.phase === "ready" && state.plan.digest === plan.digest) {
      const access = await accessIfThere(cluster);
      if (access !== undefined && (await whyUnhealthy(access)) === undefined)
        return new JoinedRun(plan, cluster, state.run);
    }
    // Somebody else's run of this spec failed while we waited: it is the one run, and its failure is ours.
    const last = failedSince(cluster, before);
    if (last !== undefined) return new JoinedRun(plan, cluster, last);
    const warm = process.env[coldVariable] !== "1" && (await isOnTime(plan, paths));
    const started = StartedRun.start(plan, cluster, spec, warm);
    if (await started.hasIt) return started; // otherwise somebody was quicker
  }
}

/** The checkpoint that fits, or why none does; looking for it may take so long. */
export function fittingWithin(limit: Duration, plan: Plan, paths: KpiPaths): ReturnType<typeof fittingCheckpoint> {
  return until("looking for a checkpoint that fits did not end", limit, (stop) => fittingCheckpoint(plan, paths, stop));
}

/**
 * Whether the checkpoint that fits, if one does, is of a cold start that kept its budgets. One that was made on a busy machine would
 * fail the same claim in every suite until the tree changes: there the cold start is made, and measured, again.
 */
async function isOnTime(plan: Plan, paths: KpiPaths): Promise<boolean> {
  const found = await fittingWithin(minutes(1), plan, paths);
  if ("why" in found) return true;
  return judgeStages(readRecord(coldRun(found.stored.dir)), plan).every(({ within }) => within);
}

/** Waits until no other kpi is changing the cluster. */
async function othersDone(cluster: ClusterDir): Promise<void> {
  using _telling = waitingFor(`${cluster.name}: another kpi is at work on it`);
  await until(`another kpi has cluster ${cluster.name}`, minutes(30), () => {
    const owner = otherAtWork(cluster);
    if (owner !== undefined) notYet(`process ${owner.pid}: kpi ${owner.command}`);
  });
}

/** Another process that is changing the cluster. */
function otherAtWork(cluster: ClusterDir): Owner | undefined {
  const owner = liveOwner(cluster.lockPath);
  return owner?.pid === process.pid ? undefined : owner;
}

function failedSince(cluster: ClusterDir, before: string): string | undefined {
  const run = latestRun(cluster.stateDir);
  if (run === undefined || run <= before || clusterOf(run) !== cluster.name) return undefined;
  return readRecord(join(cluster.runsDir, run)).outcome === "failed" ? run : undefined;
}

function blockedBy(record: RunRecord, name: StageName): Blocked | undefined {
  const stage = record.stages.find((each) => each.stage === name);
  const failed = record.stages.find(({ state }) => state === "failed");
  if (stage?.state === "passed") return undefined;
  const what = String(record.error?.["what"] ?? stage?.why ?? "it has not run");
  return new Blocked(failed?.stage ?? name, what.replace(`${failed?.stage}: `, ""), errorFields(record.error ?? {}));
}

/** Stages before the one that failed have passed, but what they made went with it. */
const goneWith = (record: RunRecord): Blocked | undefined =>
  record.outcome === "failed" ? blockedBy(record, "ready") : undefined;

/** A run that is over. */
export class JoinedRun implements SharedRun {
  readonly over = true;
  readonly dir: string;
  readonly #record: RunRecord;

  constructor(
    readonly plan: Plan,
    readonly cluster: ClusterDir,
    run: string,
  ) {
    this.dir = join(cluster.runsDir, run);
    this.#record = readRecord(this.dir);
  }

  async isOurs(): Promise<boolean> {
    return false;
  }

  record(): RunRecord {
    return this.#record;
  }

  async stage(name: StageName): Promise<void> {
    // A cluster that came from a checkpoint has no stages of its own: that it was joined says that all of them passed.
    if (this.#record.outcome === "passed") return;
    const blocked = blockedBy(this.#record, name);
    if (blocked !== undefined) throw blocked;
  }

  async access(): Promise<Access> {
    const gone = goneWith(this.#record);
    const { access, state } = await openAccess(this.cluster).catch((error: unknown) => {
      throw gone ?? error;
    });
    // A run that failed early has left the cluster that it was to replace.
    if (gone !== undefined && state.run !== this.#record.run) throw gone;
    return access;
  }
}

/** A run in progress, by a `kpi up` of ours. */
class StartedRun implements SharedRun {
  readonly #waiters = new Map<StageName, PromiseWithResolvers<void>>();
  /** As `kpi up` shows it in a log. */
  readonly #view = openView({ write: (text) => tell(`${this.plan.cluster}: ${text.trim()}`) }, false);
  #record: RunRecord = emptyRecord;
  #ended = false;
  #stderr = "";
  readonly #hasIt = Promise.withResolvers<boolean>();
  /** Whether it works on the cluster: false when another kpi took it first. */
  readonly hasIt = this.#hasIt.promise;

  private constructor(
    readonly plan: Plan,
    readonly cluster: ClusterDir,
  ) {}

  static start(plan: Plan, cluster: ClusterDir, spec: string, warm: boolean): StartedRun {
    const run = new StartedRun(plan, cluster);
    const up = start(join(projectRoot, "kpi"), ["up", ...(warm ? ["--warm"] : []), spec, "--json"], {
      accept: [0, 1, 130],
      env: goesWithSuite() ? forThisProcess() : {},
      tied: true,
      timeout: minutes(90),
      grace: minutes(1), // it unmakes what it has made
      onLine(line, from) {
        if (from === "stdout") run.#take(line);
      },
    });
    void up.done
      .then(
        ({ stderr }) => (run.#stderr = stderr),
        (error: unknown) => (run.#stderr = String(error)),
      )
      .finally(() => {
        run.#ended = true;
        run.#hasIt.resolve(true); // it has said by now if not
        run.#wake();
      });
    return run;
  }

  get over(): boolean {
    return this.#ended;
  }

  async isOurs(): Promise<boolean> {
    await this.stage("ready").catch(() => {}); // a run that failed has left no cluster, or the one that it was to replace
    const state = this.cluster.read();
    if (state?.run !== this.#record.run) return false;
    return (!goesWithSuite() || madeForThis(state)) && otherUsers(this.cluster).length === 0;
  }

  get dir(): string {
    return join(this.cluster.runsDir, this.#record.run);
  }

  record(): RunRecord {
    return this.#record;
  }

  stage(name: StageName): Promise<void> {
    const waiter = this.#waiters.get(name) ?? Promise.withResolvers<void>();
    waiter.promise.catch(() => {}); // whoever awaits it hears it
    this.#waiters.set(name, waiter);
    this.#wake();
    return waiter.promise;
  }

  /** As soon as the lab and the state of the cluster are there: the end of `apply`. */
  async access(): Promise<Access> {
    await this.stage("apply");
    return until("the cluster's state is written", seconds(20), async () => {
      const opened = await openAccess(this.cluster).catch((error: unknown) => {
        throw (this.#ended && goneWith(this.#record)) || notYet(String(error));
      });
      markInUse(this.cluster);
      return opened.access;
    });
  }

  #take(line: string): void {
    const said = parseLine(line);
    if (said?.error?.kind === "busy") this.#hasIt.resolve(false);
    const { event } = said ?? {};
    if (event === undefined) return;
    this.#hasIt.resolve(true);
    this.#record = fold(this.#record, event);
    this.#view.listen(event, this.#record);
    if (event.type === "stage-ended" || event.type === "run-ended") this.#wake();
  }

  /** Where the run left no error in its record. */
  #wordless(name: StageName): Blocked {
    const [what = "", ...details] = this.#stderr.split("\n").filter((line) => line.trim() !== "");
    return new Blocked(name, what || "kpi up ended without a word", { details: details.slice(0, 12) });
  }

  #wake(): void {
    for (const [name, waiter] of this.#waiters) {
      const state = this.#record.stages.find(({ stage }) => stage === name)?.state;
      // After `ready` the nodes stand still for a while, for the checkpoint: whoever looks at a Ready cluster looks after that.
      if (state === "passed" && name === "ready" && !this.#ended) continue;
      if (state === "passed") {
        waiter.resolve();
      } else if (this.#ended || state === "failed" || state === "blocked") {
        // The error comes with the run's last event; until then a failed stage is only known to have failed.
        if (this.#record.error === undefined && !this.#ended) continue;
        const failed = blockedBy(this.#record, name);
        const unchanged = this.#ended && this.#record.outcome === "passed";
        if (unchanged) waiter.resolve();
        else if (failed !== undefined && this.#record.error !== undefined) waiter.reject(failed);
        else waiter.reject(this.#wordless(name));
      }
    }
  }
}

/** Otherwise a cluster stays, for the next bun test. */
const goesWithSuite = () => process.env[passingVariable] === "1";

/** A line of `kpi up --json`: an event, or the error that it ends with. */
function parseLine(
  line: string,
): { readonly event?: RunEvent; readonly error?: { readonly kind: ErrorKind } } | undefined {
  try {
    const said = JSON.parse(line);
    return typeof said.type === "string" ? { event: said } : { error: said.error };
  } catch {
    return undefined;
  }
}
