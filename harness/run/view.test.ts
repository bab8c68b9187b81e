import { expect, test } from "bun:test";
import type { RunEventBody } from "../core/event.ts";
import { emptyRecord, fold, type RunRecord } from "../core/record.ts";
import { openView, type Terminal, type View } from "./view.ts";

/** A terminal as its user sees it: knows the few control sequences that a view writes. */
function screen(size: { readonly columns?: number; readonly rows?: number } = {}) {
  const lines: string[] = [];
  let row = 0;
  const terminal: Terminal = {
    ...{ isTTY: true, ...size },
    write(text) {
      for (const [part] of String(text).matchAll(/\x1b\[\d*[A-Za-z]|\n|[^\x1b\n]+/g)) {
        const [, count = "", what] = /^\x1b\[(\d*)([A-Z])$/.exec(part) ?? [];
        if (what === "A") row -= Number(count);
        else if (what === "K") lines[row] = "";
        else if (what === "J") lines.splice(row);
        else if (part === "\n") row += 1;
        else lines[row] = (lines[row] ?? "") + part;
      }
    },
  };
  return { terminal, lines };
}

/** Lets a view hear events as a run's log does. */
function hearing(view: View) {
  let record: RunRecord = emptyRecord;
  return (body: RunEventBody) => {
    const event = { at: "", t: 1_000, ...body };
    record = fold(record, event);
    view.listen(event, record);
  };
}

const started: RunEventBody = {
  ...{ type: "run-started", run: "r", command: "up", spec: "s", why: "as asked for", plan: "p" },
  host: { kernel: "", cpu: "", cpus: 2, memoryMiB: 1 },
} as RunEventBody;

test("a terminal shows a table that is drawn over itself, and above it what is said", async () => {
  const { terminal, lines } = screen({ columns: 60, rows: 10 });
  {
    await using view = openView(terminal, false, { TERM: "xterm", NO_COLOR: "1" });
    const hear = hearing(view);
    hear(started);
    hear({ type: "stage-started", stage: "doctor" });
    hear({ type: "note", text: "removing what was made" });
    expect(lines).toEqual(["as asked for", "removing what was made", expect.stringMatching(/^▸ doctor +\d+ms/)]);
    hear({ type: "stage-started", stage: "supplies" });
    view.say("kpi: interrupted");
    expect(lines.slice(2)).toEqual([
      "kpi: interrupted",
      expect.stringMatching(/^▸ doctor/),
      expect.stringMatching(/^▸ supplies/),
    ]);
    await view[Symbol.asyncDispose]();
    terminal.write("what follows\n");
  }
  expect(lines.slice(4)).toEqual([expect.stringMatching(/^▸ supplies/), "what follows"]);
});

test("no more is drawn than the terminal has rows, and one that does not say its size has some", () => {
  const { terminal, lines } = screen({ columns: 0, rows: 3 });
  const view = openView(terminal, false, { TERM: "xterm", NO_COLOR: "1" });
  const hear = hearing(view);
  for (const stage of ["doctor", "supplies", "image", "apply"] as const) hear({ type: "stage-started", stage });
  view.say("said");
  expect(lines.map((line) => line.replace(/ .*/, ""))).toEqual(["said", "▸", "▸"]);
  expect(lines.at(-1)).toContain("apply");
});

test.each([
  [{ TERM: "dumb" }, true],
  [{}, true],
  [{ TERM: "xterm" }, false],
])("with %j, a terminal: %p, there are plain lines", (env, isTTY) => {
  const written: string[] = [];
  const view = openView({ isTTY, write: (text) => written.push(text) }, false, env);
  hearing(view)(started);
  expect(written).toEqual(["    1.0s as asked for\n"]);
});
