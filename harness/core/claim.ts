import type { Duration } from "./duration.ts";
import type { StageName } from "./event.ts";

/** How a claim ended. `blocked`: what it judges never came to be, because a stage before it failed; `skipped`: nobody asked. */
export type ClaimOutcome = "passed" | "failed" | "blocked" | "skipped";

/** One claim's outcome, as the kit reports it; one testcase in every report. */
export interface ClaimResult {
  /** Relative to the project: `specs/network.spec.ts`. */
  readonly file: string;
  /** Where the claim stands in it; 1 where that is not known. */
  readonly line: number;
  /** `network` */
  readonly area: string;
  /** Full title, unique in its file. */
  readonly title: string;
  readonly cluster?: string;
  /** The stage whose result it judges. */
  readonly stage?: StageName;
  readonly outcome: ClaimOutcome;
  /** ISO 8601, when it started. */
  readonly at: string;
  readonly elapsed: Duration;
  /** Blocked: by which stage; skipped: the reason. */
  readonly why?: string;
  /** errorJson() of what it failed with. */
  readonly error?: Readonly<Record<string, unknown>>;
  /** Paths of files that show more. */
  readonly attachments?: readonly string[];
}

/** Something that was observed or done so that claims could be judged: a look, a fork that was made, a scenario on it. */
export interface WorkResult {
  /** Such as `look at network`, `fork`, `worker power cut`. */
  readonly name: string;
  readonly cluster: string;
  readonly outcome: "passed" | "failed";
  /** ISO 8601, when it began. */
  readonly at: string;
  readonly elapsed: Duration;
}

/** How many claims ended how. */
export type ClaimTotals = Readonly<Record<ClaimOutcome, number>>;

/** Counts outcomes; every outcome is there, even when none ended so. */
export function countClaims(claims: readonly Pick<ClaimResult, "outcome">[]): ClaimTotals {
  const totals = { passed: 0, failed: 0, blocked: 0, skipped: 0 };
  for (const { outcome } of claims) totals[outcome] += 1;
  return totals;
}
