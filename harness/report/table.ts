import { renderFactor } from "../core/calibration.ts";
import { formatDuration } from "../core/duration.ts";
import type { Progress, RunEvent } from "../core/event.ts";
import type { NodeRecord, RunRecord, StageRecord } from "../core/record.ts";

const marks = { running: "▸", passed: "✓", failed: "✗", blocked: "∙", skipped: "∙" } as const;
const colours = { running: 36, passed: 32, failed: 31, blocked: 33, skipped: 33 } as const;

/** How the table is drawn: columns of the terminal, and whether it understands colour. */
export interface Drawing {
  readonly columns: number;
  readonly colour: boolean;
}

/** The live table of a run: stages with their elapsed time and progress, nodes with their state and last console line. */
export function renderTable(record: RunRecord, now: number, drawing: Drawing): string[] {
  const stages = record.stages.map((stage) => stageLine(stage, now, drawing));
  const nodes = record.nodes.map((node) => nodeLine(node, drawing));
  return [...stages, ...(nodes.length > 0 ? [""] : []), ...nodes].map((line) => clip(line, drawing.columns));
}

function stageLine(stage: StageRecord, now: number, { colour }: Drawing): string {
  const took = formatDuration(stage.elapsed ?? now - stage.from);
  const step = stage.state === "running" ? (stage.steps.at(-1)?.text ?? "") : (stage.why ?? "");
  const detail = stage.progress === undefined ? step : progressText(stage.progress);
  return `${paint(marks[stage.state], colours[stage.state], colour)} ${stage.stage.padEnd(10)} ${took.padStart(8)}  ${detail}`;
}

function nodeLine(node: NodeRecord, { colour }: Drawing): string {
  const tone = node.state === "Ready" ? 32 : node.state === "failed" || node.state === "lost" ? 31 : 36;
  const last = node.detail === "" ? node.lastLine : node.detail;
  return `  ${node.name.padEnd(16)} ${paint(node.state.padEnd(10), tone, colour)} ${last}`;
}

/** `what 12.3/45.6 MB 27 %`, or `what 3/11`. */
export function progressText({ what, done, total, unit }: Progress): string {
  if (done === undefined) return what;
  const mega = (bytes: number) => (bytes / 1_000_000).toFixed(1);
  if (unit === "bytes")
    return total === undefined
      ? `${what} ${mega(done)} MB`
      : `${what} ${mega(done)}/${mega(total)} MB ${Math.floor((100 * done) / Math.max(total, 1))} %`;
  return total === undefined ? `${what} ${done}` : `${what} ${done}/${total}`;
}

/** One plain line for an event, for a pipe or a log; undefined for events that say nothing new to a person. */
export function plainEvent(event: RunEvent): string | undefined {
  const at = formatDuration(event.t).padStart(8);
  switch (event.type) {
    case "run-started":
      return `${at} ${event.why}`;
    case "calibrated":
      return `${at} ${renderFactor(event.calibration, event.factor)}`;
    case "stage-started":
      return `${at} ${event.stage}: started`;
    case "stage-ended":
      return `${at} ${event.stage}: ${event.outcome} in ${formatDuration(event.elapsed)}${event.why === undefined ? "" : ` (${event.why})`}`;
    case "progress":
      return `${at} ${event.stage}: ${progressText(event)}`;
    case "note":
      return `${at} ${event.stage === undefined ? "" : `${event.stage}: `}${event.text}`;
    case "verdict":
      return `${at} ${event.verdict.node}: ${event.verdict.step} ${event.verdict.ok ? "ok" : "FAILED"}: ${event.verdict.detail}`;
    case "node":
      return ["Ready", "NotReady", "lost", "started"].includes(event.state)
        ? `${at} ${event.node}: ${event.state}${event.detail === undefined ? "" : ` (${event.detail})`}`
        : undefined;
    case "console":
    case "command":
    case "domain":
      return undefined;
    case "run-ended":
      return `${at} ${event.outcome}`;
  }
}

function paint(text: string, code: number, colour: boolean): string {
  return colour ? `\x1b[${code}m${text}\x1b[0m` : text;
}

/** Cuts a line to the terminal's width; colour sequences take no room. */
export function clip(line: string, columns: number): string {
  let shown = 0;
  let out = "";
  for (const [piece] of line.matchAll(/\x1b\[\d+m|./gsu)) {
    if (piece.length > 1 && piece.startsWith("\x1b")) out += piece;
    else if (shown < columns - 1) {
      out += piece;
      shown += 1;
    }
  }
  return out;
}
