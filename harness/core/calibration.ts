import { type Duration, formatDuration } from "./duration.ts";
import type { StageName } from "./event.ts";
import type { Plan } from "./plan.ts";
import type { RunRecord } from "./record.ts";

/** How fast this machine runs guests, measured by a fixed piece of guest work (lab/calibration.ts). Times are microseconds of CPU time a round. */
export interface Calibration {
  readonly accelerator: "kvm" | "tcg";
  /** QEMU's own words for its version. */
  readonly qemu: string;
  readonly cpu: string;
  /** Cores of this machine. */
  readonly cores: number;
  /** What each run took, one guest at a time, without what QEMU itself costs. */
  readonly runs: readonly number[];
  /** The least of them: other work on the machine can only add. */
  readonly work: number;
  /** The same on the reference hypervisor. */
  readonly reference: number;
  /** How many guests run at full speed side by side: all cores busy at once, measured. */
  readonly parallel: number;
  /** ISO 8601. */
  readonly at: string;
  /** One-minute load when it began. */
  readonly load: number;
}

/** Beyond this a budget says nothing any more, and a deadline would keep a person for hours. */
export const greatestFactor = 50;

/**
 * By how much a budget, stated for the reference hypervisor, is stretched here for so many guests at once: one guest's
 * slowdown, times the guests' share of too few cores. Never below 1: on a faster machine the promise stays what it is.
 */
export function factorFor({ work, reference, parallel }: Calibration, guests: number): number {
  const slowdown = work / reference;
  const sharing = Math.max(1, guests / parallel);
  return Math.min(greatestFactor, Math.max(1, slowdown * sharing));
}

/** A budget as it is asserted on this machine. */
export const scaledBudget = (budget: Duration, factor: number): Duration =>
  Math.round(budget * Math.max(1, factor)) as Duration;

/** A time held against its budget: always all four numbers, so that scaling cannot hide anything. */
export interface Judgement {
  readonly took: Duration;
  readonly budget: Duration;
  readonly factor: number;
  readonly scaled: Duration;
  readonly within: boolean;
}

/** Holds a time against a budget of the spec, on a machine with this factor. Exactly on time is within. */
export function judgeBudget(took: Duration, budget: Duration, factor: number): Judgement {
  const scaled = scaledBudget(budget, factor);
  return { took, budget, factor, scaled, within: took <= scaled };
}

/** The stages of a run that have a time and a budget, each held against it. */
export function judgeStages(
  { stages, factor = 1 }: RunRecord,
  plan: Plan,
): readonly (Judgement & { readonly stage: StageName })[] {
  return stages.flatMap(({ stage, elapsed }) => {
    const budget = plan.stages.find(({ name }) => name === stage)?.budget;
    return budget === undefined || elapsed === undefined ? [] : [{ stage, ...judgeBudget(elapsed, budget, factor) }];
  });
}

/** One line: what was measured and what follows from it. */
export function renderFactor({ accelerator, work, reference, parallel, load }: Calibration, factor: number): string {
  const slowdown = (work / reference).toFixed(1);
  return `calibrated: ${accelerator} does the reference work ${slowdown} times slower, ${parallel.toFixed(1)} guests at full speed side by side (load ${load.toFixed(1)}); budgets x ${factor.toFixed(1)}`;
}

/** `1.3s x 26.9 = 35.0s`: what the spec says, the factor, and what is asserted here. */
export function renderBudget({ budget, factor, scaled }: Judgement): string {
  return `${formatDuration(budget)} x ${factor.toFixed(1)} = ${formatDuration(scaled)}`;
}

/** `45.7s, budget 30.0s x 1.8 = 54.0s: within` */
export function renderJudgement(judged: Judgement): string {
  const { took, scaled, within } = judged;
  const verdict = within ? "within" : `over by ${formatDuration(took - scaled)}`;
  return `${formatDuration(took)}, budget ${renderBudget(judged)}: ${verdict}`;
}
