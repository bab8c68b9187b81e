import type { Calibration } from "./calibration.ts";
import type { Duration } from "./duration.ts";

/** The steps of the pipeline, in the order in which a person meets them. */
export const stageNames = [
  "doctor",
  "supplies",
  "image",
  "apply",
  "boot",
  "network",
  "install",
  "ready",
  "checkpoint",
  "warm",
  "idempotent",
  "destroy",
] as const;
export type StageName = (typeof stageNames)[number];

/**
 * A line that a node's first-boot script writes to its console, once a step: the only source for what happened in the
 * guest, and when. `wall` is the guest's clock in seconds since 1970, `mono` its seconds since boot.
 */
export interface Verdict {
  readonly node: string;
  readonly step: string;
  readonly ok: boolean;
  readonly detail: string;
  readonly wall: number;
  readonly mono: number;
}

/** How far a piece of work has come; `total` is absent while it is not known. Bytes for transfers, counts otherwise. */
export interface Progress {
  readonly what: string;
  readonly done?: number;
  readonly total?: number;
  readonly unit?: "bytes" | "steps";
}

/** Told about progress. Cheap to call often: whoever listens thins it out. */
export type OnProgress = (progress: Progress) => void;

/** What can happen in a run, before it is stamped with a time. Nothing in an event is secret. */
export type RunEventBody =
  | {
      readonly type: "run-started";
      readonly run: string;
      readonly command: string;
      readonly spec: string;
      readonly why: string;
      readonly plan: string;
      readonly host: Readonly<Record<string, string | number>>;
    }
  /** How fast this machine runs guests, and by how much that stretches the spec's budgets for this plan. */
  | { readonly type: "calibrated"; readonly calibration: Calibration; readonly factor: number }
  | { readonly type: "stage-started"; readonly stage: StageName }
  | {
      readonly type: "stage-ended";
      readonly stage: StageName;
      readonly outcome: "passed" | "failed" | "blocked" | "skipped";
      readonly elapsed: Duration;
      readonly why?: string;
      readonly error?: Readonly<Record<string, unknown>>;
    }
  | ({ readonly type: "progress"; readonly stage: StageName } & Progress)
  | { readonly type: "note"; readonly stage?: StageName; readonly text: string }
  | { readonly type: "console"; readonly node: string; readonly line: string }
  | { readonly type: "verdict"; readonly verdict: Verdict }
  /** An outside program that ended. `command` can be pasted into a shell; secrets are `***`. `code` is absent when it was stopped. */
  | {
      readonly type: "command";
      readonly program: string;
      readonly command: string;
      readonly elapsed: Duration;
      readonly code?: number;
    }
  /** What libvirt said of a domain: lifecycle and the like. `when` is its own time stamp, ISO 8601. */
  | {
      readonly type: "domain";
      readonly domain: string;
      readonly kind: string;
      readonly detail: string;
      readonly when: string;
    }
  | { readonly type: "node"; readonly node: string; readonly state: string; readonly detail?: string }
  | {
      readonly type: "run-ended";
      readonly outcome: "passed" | "failed" | "interrupted";
      readonly elapsed: Duration;
      readonly error?: Readonly<Record<string, unknown>>;
    };

/** One line of a run's `events.ndjson`. `at` is ISO 8601 in UTC; `t` is milliseconds since the run began, by a monotonic clock. */
export type RunEvent = { readonly at: string; readonly t: number } & RunEventBody;
