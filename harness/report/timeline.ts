import { judgeBudget, renderBudget, renderFactor } from "../core/calibration.ts";
import { type Duration, formatDuration } from "../core/duration.ts";
import type { Plan } from "../core/plan.ts";
import type { NodeRecord, RunRecord, StageRecord } from "../core/record.ts";

/** Where a run's time went, in milliseconds: the guests' critical path, the outside tools, and what is left for the harness. */
export interface Shares {
  readonly total: number;
  /** From the first domain running to the last node Ready. */
  readonly guests: number;
  /** Stages in which an outside tool works: doctor's installs, supply builds, Packer, Terraform. */
  readonly tools: number;
  /** What remains: kpi's own doing. */
  readonly harness: number;
}

/** Splits a finished run's wall time. Undefined while the run has no `ready` or no node that started. */
export function shares(record: RunRecord): Shares | undefined {
  const total = record.elapsed ?? record.now;
  const ready = record.stages.find(({ stage }) => stage === "ready");
  const started = record.nodes.map((node) => node.since["started"]).filter((at) => at !== undefined);
  if (ready?.to === undefined || started.length === 0) return undefined;
  const first = Math.min(...started);
  const guests = ready.to - first;
  const busy = record.stages.filter(({ stage }) => toolStages.has(stage));
  const tools = busy.reduce((sum, stage) => sum + Math.max(0, Math.min(stage.to ?? total, first) - stage.from), 0);
  return { total, guests, tools, harness: Math.max(0, total - guests - tools) };
}

const toolStages: ReadonlySet<string> = new Set(["doctor", "supplies", "image", "apply"]);

/** The timeline that `up` ends with: stages against their budgets, nodes step by step, and where the time went. */
export function renderTimeline(record: RunRecord, plan: Plan): string {
  const { calibration, factor = 1 } = record;
  const rows = record.stages.flatMap((stage) => stageRows(stage, plan, factor));
  const lines = [row("stage", "took", "budget", ""), ...rows];
  if (calibration !== undefined) lines.push("", renderFactor(calibration, factor));
  const nodes = record.nodes.filter((node) => node.verdicts.length > 0);
  if (nodes.length > 0) {
    lines.push("", "node, seconds after its domain started");
    for (const node of nodes) lines.push(`  ${node.name.padEnd(16)} ${nodeSteps(node)}`);
  }
  const split = shares(record);
  if (split !== undefined) {
    const percent = (part: number) => `${((100 * part) / split.total).toFixed(1)} %`;
    lines.push(
      "",
      `total ${formatDuration(split.total)} = guests ${formatDuration(split.guests)} (${percent(split.guests)}) + tools ${formatDuration(split.tools)} (${percent(split.tools)}) + harness ${formatDuration(split.harness)} (${percent(split.harness)})`,
    );
  }
  return lines.join("\n");
}

function stageRows(stage: StageRecord, plan: Plan, factor: number): string[] {
  const budget = plan.stages.find(({ name }) => name === stage.stage)?.budget;
  const took = stage.elapsed ?? 0;
  const judged = budget === undefined ? undefined : judgeBudget(took as Duration, budget, factor);
  const verdict =
    judged === undefined ? "" : judged.within ? "within" : `over by ${formatDuration(took - judged.scaled)}`;
  const allowed = judged === undefined ? "" : renderBudget(judged);
  const note =
    stage.state === "passed"
      ? [verdict, stage.why].filter(Boolean).join(", ")
      : `${stage.state}${stage.why === undefined ? "" : `: ${stage.why}`}`;
  const rows = [row(stage.stage, formatDuration(took), allowed, note)];
  return [...rows, ...stage.steps.map(({ text, at }) => `    +${formatDuration(at - stage.from)} ${text}`)];
}

function row(stage: string, took: string, budget: string, note: string): string {
  return `  ${stage.padEnd(10)} ${took.padStart(8)} ${budget.padStart(20)}  ${note}`.trimEnd();
}

function nodeSteps(node: NodeRecord): string {
  const zero = node.since["started"] ?? 0;
  const steps = node.verdicts.map(({ step, ok, t }) => `${ok ? "" : "✗"}${step} ${((t - zero) / 1_000).toFixed(1)}`);
  const ready = node.since["Ready"];
  if (ready !== undefined) steps.push(`Ready ${((ready - zero) / 1_000).toFixed(1)}`);
  return steps.join(" · ");
}
