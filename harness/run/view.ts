import { ticks } from "../core/deadline.ts";
import { milliseconds } from "../core/duration.ts";
import { emptyRecord, type RunRecord } from "../core/record.ts";
import { plainEvent, renderTable } from "../report/table.ts";
import type { RunListener } from "./log.ts";

/** How a run is shown while it runs. */
export interface View extends AsyncDisposable {
  readonly listen: RunListener;
}

/** Where a view writes. */
export interface Terminal {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

/** Chooses by what standard output is: NDJSON when asked for, a live table on a terminal, else one plain line an event. */
export function openView(out: Terminal, json: boolean): View {
  if (json) return lineView(out, (event) => JSON.stringify(event));
  return out.isTTY === true ? tableView(out) : lineView(out, thinned(plainEvent));
}

function lineView(out: Terminal, render: (event: Parameters<RunListener>[0]) => string | undefined): View {
  return {
    listen(event) {
      const line = render(event);
      if (line !== undefined) out.write(`${line}\n`);
    },
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

function tableView(out: Terminal): View {
  const stop = new AbortController();
  const colour = process.env["NO_COLOR"] === undefined;
  let record: RunRecord = emptyRecord;
  let heardAt = performance.now();
  let drawn = 0;
  const draw = () => {
    const now = record.now + (record.outcome === "running" ? performance.now() - heardAt : 0);
    const lines = renderTable(record, now, { columns: out.columns ?? 80, colour });
    const up = drawn > 0 ? `\x1b[${drawn}A` : "";
    out.write(`${up}${lines.map((line) => `\x1b[2K${line}\n`).join("")}\x1b[J`);
    drawn = lines.length;
  };
  const drawing = (async () => {
    for await (const _ of ticks(milliseconds(200), stop.signal)) draw();
  })();
  return {
    listen(event, now) {
      if (event.type === "run-started") out.write(`${event.why}\n`);
      record = now;
      heardAt = performance.now();
    },
    async [Symbol.asyncDispose]() {
      stop.abort();
      await drawing;
      draw();
    },
  };
}
