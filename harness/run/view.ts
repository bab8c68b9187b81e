import { ticks } from "../core/deadline.ts";
import { milliseconds } from "../core/duration.ts";
import type { Environment } from "../core/paths.ts";
import { emptyRecord, type RunRecord } from "../core/record.ts";
import { plainEvent, renderTable } from "../report/table.ts";
import { toStderr } from "./interrupt.ts";
import type { RunListener } from "./log.ts";

/** How a run is shown while it runs. */
export interface View extends AsyncDisposable {
  readonly listen: RunListener;
  /** Says something to the person who watches that is no event. */
  say(line: string): void;
}

/** Where a view writes. */
export interface Terminal {
  readonly isTTY?: boolean;
  /** 0 where it does not say. */
  readonly columns?: number;
  readonly rows?: number;
  write(text: string): unknown;
}

/** Chooses by what standard output is: NDJSON when asked for, a live table on a terminal that can draw one, else one plain line an event. */
export function openView(out: Terminal, json: boolean, env: Environment = process.env): View {
  if (json) return lineView(out, (event) => JSON.stringify(event));
  const draws = out.isTTY === true && (env["TERM"] ?? "dumb") !== "dumb";
  return draws ? tableView(out, env["NO_COLOR"] === undefined) : lineView(out, thinned(plainEvent));
}

function lineView(out: Terminal, render: (event: Parameters<RunListener>[0]) => string | undefined): View {
  return {
    listen(event) {
      const line = render(event);
      if (line !== undefined) out.write(`${line}\n`);
    },
    say: toStderr,
    [Symbol.asyncDispose]: async () => {},
  };
}

/** Progress at most every ten seconds a stage: a log is read by people. */
function thinned(render: typeof plainEvent): typeof plainEvent {
  const last = new Map<string, number>();
  return (event) => {
    if (event.type === "progress") {
      if (event.t - (last.get(event.stage) ?? -10_000) < 10_000) return undefined;
      last.set(event.stage, event.t);
    }
    return render(event);
  };
}

/** The table is drawn over itself; what is said goes above it, and stays. */
function tableView(out: Terminal, colour: boolean): View {
  const stop = new AbortController();
  let record: RunRecord = emptyRecord;
  let heardAt = performance.now();
  let drawn = 0;
  const back = () => `\r${drawn > 0 ? `\x1b[${drawn}A` : ""}`; // a key pressed has left its mark (^C)
  const draw = () => {
    const now = record.now + (record.outcome === "running" ? performance.now() - heardAt : 0);
    // What has left the screen at its top cannot be drawn over.
    const lines = renderTable(record, now, { columns: out.columns || 80, colour }).slice(1 - (out.rows || 24));
    out.write(`${back()}${lines.map((line) => `\x1b[2K${line}\n`).join("")}\x1b[J`);
    drawn = lines.length;
  };
  const say = (line: string) => {
    out.write(`${back()}\x1b[J${line}\n`);
    drawn = 0;
    draw();
  };
  const drawing = (async () => {
    for await (const _ of ticks(milliseconds(200), stop.signal)) draw();
  })();
  return {
    listen(event, now) {
      record = now;
      heardAt = performance.now();
      if (event.type === "run-started") say(event.why);
      if (event.type === "note" && event.stage === undefined) say(event.text);
    },
    say,
    async [Symbol.asyncDispose]() {
      if (stop.signal.aborted) return; // what has been written since must not be drawn over
      stop.abort();
      await drawing;
      draw();
    },
  };
}
