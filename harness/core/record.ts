import type { Calibration } from "./calibration.ts";
import type { Duration } from "./duration.ts";
import type { Progress, RunEvent, StageName, Verdict } from "./event.ts";

/** How far a stage has come. `from` and `to` are milliseconds since the run began. */
export interface StageRecord {
  readonly stage: StageName;
  readonly state: "running" | "passed" | "failed" | "blocked" | "skipped";
  readonly from: number;
  readonly to?: number;
  readonly elapsed?: Duration;
  readonly progress?: Progress;
  readonly why?: string;
  /** What ran inside it, one after the other. */
  readonly steps: readonly { readonly text: string; readonly at: number }[];
}

export interface NodeRecord {
  readonly name: string;
  readonly state: string;
  readonly detail: string;
  /** When it entered each state, in milliseconds since the run began. */
  readonly since: Readonly<Record<string, number>>;
  /** The guest's own lines, each with the host's time of arrival. */
  readonly verdicts: readonly (Verdict & { readonly t: number })[];
  readonly lastLine: string;
}

/** A whole run, folded from its events. */
export interface RunRecord {
  readonly run: string;
  readonly command: string;
  readonly spec: string;
  readonly why: string;
  readonly startedAt: string;
  readonly now: number;
  readonly outcome: "running" | "passed" | "failed" | "interrupted";
  readonly elapsed?: Duration;
  readonly host: Readonly<Record<string, string | number>>;
  readonly calibration?: Calibration;
  /** By which the spec's budgets are stretched on this machine; absent while it is not known. */
  readonly factor?: number;
  readonly stages: readonly StageRecord[];
  readonly nodes: readonly NodeRecord[];
  /** When an outside program ran, in milliseconds since the run began; those that only watch are left out. */
  readonly programs: readonly { readonly program: string; readonly from: number; readonly to: number }[];
  readonly error?: Readonly<Record<string, unknown>>;
}

export const emptyRecord: RunRecord = {
  run: "",
  command: "",
  spec: "",
  why: "",
  startedAt: "",
  now: 0,
  outcome: "running",
  host: {},
  stages: [],
  nodes: [],
  programs: [],
};

/** The record after one more event. Pure, so that a live view, a report and a test see the same. */
export function fold(record: RunRecord, event: RunEvent): RunRecord {
  const next = { ...record, now: event.t };
  switch (event.type) {
    case "run-started":
      return {
        ...next,
        run: event.run,
        command: event.command,
        spec: event.spec,
        why: event.why,
        startedAt: event.at,
        host: event.host,
      };
    case "calibrated":
      return { ...next, calibration: event.calibration, factor: event.factor };
    case "command": {
      const { program, command, elapsed, t } = event;
      if (/^virsh .*\bevent\b/.test(command)) return next;
      return { ...next, programs: [...record.programs, { program, from: t - elapsed, to: t }] };
    }
    case "domain":
      return next;
    case "stage-started":
      return {
        ...next,
        stages: [
          ...record.stages.filter(({ stage }) => stage !== event.stage),
          { stage: event.stage, state: "running", from: event.t, steps: [] },
        ],
      };
    case "stage-ended":
      return changeStage(next, event.stage, event.t, ({ progress: _, ...stage }) => ({
        ...stage,
        state: event.outcome,
        to: event.t,
        elapsed: event.elapsed,
        ...(event.why === undefined ? {} : { why: event.why }),
      }));
    case "progress":
      return changeStage(next, event.stage, event.t, (stage) => ({
        ...stage,
        progress: {
          what: event.what,
          ...(event.done === undefined ? {} : { done: event.done }),
          ...(event.total === undefined ? {} : { total: event.total }),
          ...(event.unit === undefined ? {} : { unit: event.unit }),
        },
      }));
    case "note": {
      const { stage, text } = event;
      if (stage === undefined) return next;
      return changeStage(next, stage, event.t, (old) => ({ ...old, steps: [...old.steps, { text, at: event.t }] }));
    }
    case "console":
      return changeNode(next, event.node, (node) => ({ ...node, lastLine: event.line }));
    case "verdict":
      return changeNode(next, event.verdict.node, (node) => ({
        ...node,
        verdicts: [...node.verdicts, { ...event.verdict, t: event.t }],
      }));
    case "node":
      return changeNode(next, event.node, (node) => ({
        ...node,
        state: event.state,
        detail: event.detail ?? "",
        since: { ...node.since, [event.state]: node.since[event.state] ?? event.t },
      }));
    case "run-ended":
      return {
        ...next,
        outcome: event.outcome,
        elapsed: event.elapsed,
        ...(event.error === undefined ? {} : { error: event.error }),
      };
  }
}

function changeStage(
  record: RunRecord,
  name: StageName,
  t: number,
  change: (stage: StageRecord) => StageRecord,
): RunRecord {
  const known = record.stages.some(({ stage }) => stage === name);
  const stages = known
    ? record.stages
    : [...record.stages, { stage: name, state: "running" as const, from: t, steps: [] }];
  return { ...record, stages: stages.map((stage) => (stage.stage === name ? change(stage) : stage)) };
}

function changeNode(record: RunRecord, name: string, change: (node: NodeRecord) => NodeRecord): RunRecord {
  const known = record.nodes.some((node) => node.name === name);
  const fresh: NodeRecord = { name, state: "planned", detail: "", since: {}, verdicts: [], lastLine: "" };
  const nodes = known ? record.nodes : [...record.nodes, fresh];
  return { ...record, nodes: nodes.map((node) => (node.name === name ? change(node) : node)) };
}
