import { judgeBudget, renderBudget, renderFactor } from "../core/calibration.ts";
import { type Duration, formatDuration } from "../core/duration.ts";
import type { Plan } from "../core/plan.ts";
import type { NodeRecord, RunRecord, StageRecord } from "../core/record.ts";

/** Where a run's time went, in milliseconds; the last three are what is not the guests' own. */
export interface Shares {
  readonly total: number;
  /** Their critical path: from the first domain running to the last node Ready. */
  readonly guests: number;
  /** Freezing the Ready cluster, which nobody has to wait for. */
  readonly checkpoint: number;
  /** Outside of both, with an outside program running: doctor's installs, supply builds, Packer, Terraform. */
  readonly tools: number;
  /** What remains: kpi's own doing. */
  readonly harness: number;
}

/** Splits a finished run's wall time. Undefined while the run has no `ready` or no node that started. */
export function shares({ elapsed, now, stages, nodes, programs }: RunRecord): Shares | undefined {
  const total = elapsed ?? now;
  const ready = stages.find(({ stage }) => stage === "ready")?.to;
  const saving = stages.find(({ stage }) => stage === "checkpoint");
  const started = nodes.map((node) => node.since["started"]).filter((at) => at !== undefined);
  if (ready === undefined || started.length === 0) return undefined;
  const first = Math.min(...started);
  const checkpoint = saving === undefined ? 0 : (saving.to ?? total) - saving.from;
  const tools = covered(programs, 0, first) + covered(programs, ready, saving?.from ?? total);
  const guests = ready - first;
  return { total, guests, checkpoint, tools, harness: Math.max(0, total - guests - checkpoint - tools) };
}

/** How much of a time some span covers; where several overlap it counts once. */
function covered(spans: readonly { from: number; to: number }[], from: number, to: number): number {
  const sorted = [...spans].sort((a, b) => a.from - b.from);
  let sum = 0;
  let reached = from;
  for (const span of sorted) {
    const [start, end] = [Math.max(span.from, reached), Math.min(span.to, to)];
    if (end <= start) continue;
    sum += end - start;
    reached = end;
  }
  return sum;
}

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
  if (split !== undefined) lines.push("", ...shareRows(split));
  return lines.join("\n");
}

/** The harness's cost is all that is not the guests' critical path and not the checkpoint. */
function shareRows({ total, guests, checkpoint, tools, harness }: Shares): string[] {
  const percent = (part: number) => `${((100 * part) / (total - checkpoint)).toFixed(1)} %`;
  const said = (what: string, part: number) => `${what} ${formatDuration(Math.round(part))} (${percent(part)})`;
  const parts = [said("guests", guests), said("outside programs", tools), said("kpi itself", harness)];
  const saving = checkpoint === 0 ? "" : `, and then ${formatDuration(Math.round(checkpoint))} for the checkpoint`;
  return [`up to Ready ${formatDuration(Math.round(total - checkpoint))} = ${parts.join(" + ")}${saving}`];
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
