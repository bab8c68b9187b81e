import { scaledBudget } from "../core/calibration.ts";
import { until } from "../core/deadline.ts";
import { type Duration, seconds } from "../core/duration.ts";
import { errorJson, KpiError } from "../core/errors.ts";
import type { RunEventBody, StageName } from "../core/event.ts";
import type { StagePlan } from "../core/plan.ts";

/** One stage's work: observes and returns what it saw. The signal ends it on an interrupt, a deadline or another stage's failure. */
export type StageWork<Seen> = (signal: AbortSignal) => Promise<Seen>;

/** What the stages of a run saw, by stage. A stage reads only what it needs, and that has run before it. */
export type StageTable<Seen> = { readonly [Name in keyof Seen]: StageWork<Seen[Name]> };

/**
 * How long a stage may take to end that was told to. Whoever unmakes the cluster must find it standing still: Terraform finishes what is
 * under way, within a minute, and only then its state tells what there is to remove.
 */
const endLimit = seconds(75);

/**
 * Runs the planned stages, each as soon as those it needs have passed, independent ones side by side. The first failure
 * ends the others and is thrown, with the stage's name in front; whoever needed a failed stage is reported as blocked by it.
 * `factor` is by how much budgets are stretched on this machine.
 */
export async function runStages<Seen extends Partial<Record<StageName, unknown>>>(
  planned: readonly StagePlan[],
  table: StageTable<Seen>,
  emit: (body: RunEventBody) => void,
  interrupt: AbortSignal,
  factor: () => number = () => 1,
): Promise<void> {
  const failing = new AbortController();
  const signal = AbortSignal.any([interrupt, failing.signal]);
  const outcomes = new Map<StageName, Promise<"passed" | StageName>>();
  let first: unknown;
  // A hang guard must not bite where the budget is stretched; the factor is known when a stage begins, not when it is planned.
  const deadline = ({ budget, deadline: planned }: StagePlan) =>
    budget === undefined ? planned : (Math.max(planned, 4 * scaledBudget(budget, factor())) as Duration);

  const runOne = async (stage: StagePlan): Promise<"passed" | StageName> => {
    for (const need of stage.needs) {
      const outcome = (await outcomes.get(need)) ?? "passed";
      if (outcome !== "passed") {
        emit({
          type: "stage-ended",
          stage: stage.name,
          outcome: "blocked",
          elapsed: 0 as Duration,
          why: `by ${outcome}`,
        });
        return outcome;
      }
    }
    const work = table[stage.name as keyof Seen];
    emit({ type: "stage-started", stage: stage.name });
    const began = performance.now();
    const elapsed = () => (performance.now() - began) as Duration;
    let working: Promise<unknown> = Promise.resolve();
    try {
      const what = `${stage.name}: not finished in time`;
      await until(what, deadline(stage), (stop) => (working = work(stop)), { signal });
      emit({ type: "stage-ended", stage: stage.name, outcome: "passed", elapsed: elapsed() });
      return "passed";
    } catch (error) {
      await until("it ends", endLimit, () => working).catch(() => {});
      if (failing.signal.aborted || interrupt.aborted) {
        const why = interrupt.aborted ? "interrupted" : `by ${blocker}`;
        emit({ type: "stage-ended", stage: stage.name, outcome: "blocked", elapsed: elapsed(), why });
        return interrupt.aborted ? stage.name : blocker;
      }
      first = inStage(stage.name, error);
      blocker = stage.name;
      emit({ type: "stage-ended", stage: stage.name, outcome: "failed", elapsed: elapsed(), error: errorJson(first) });
      failing.abort(new KpiError("blocked", `${stage.name} failed`));
      return stage.name;
    }
  };
  let blocker: StageName = planned[0]?.name ?? "doctor";

  for (const stage of planned) outcomes.set(stage.name, runOne(stage));
  await Promise.all(outcomes.values());
  interrupt.throwIfAborted();
  if (first !== undefined) throw first;
}

/** Says first in which stage something went wrong; a bug stays a bug, with its stack. */
function inStage(stage: StageName, error: unknown): unknown {
  if (!(error instanceof KpiError) || error.what.startsWith(`${stage}:`)) return error;
  const { kind, what, expected, got, command, hint, evidence, details } = error;
  const fields = { expected, got, command, hint };
  const defined = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
  return new KpiError(kind, `${stage}: ${what}`, { ...defined, evidence, details, cause: error.cause });
}
