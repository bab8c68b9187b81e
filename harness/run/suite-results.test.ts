import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { milliseconds } from "../core/duration.ts";
import { runId } from "./log.ts";
import { openSuiteRecord } from "./suite-record.ts";
import { writeSuiteResults } from "./suite-results.ts";

const state = mkdtempSync(join(tmpdir(), "kpi-results-"));
afterAll(() => rmSync(state, { recursive: true, force: true }));

/** A run that was started, below a directory; gives its name. */
function started(below: string, cluster: string, at: Date): string {
  const run = runId(cluster, at);
  mkdirSync(join(below, "runs", run), { recursive: true });
  const event = { type: "run-started", run, command: "up", spec: "x", why: "", plan: "x", host: {} };
  writeFileSync(join(below, "runs", run, "events.ndjson"), JSON.stringify({ at: at.toISOString(), t: 0, ...event }));
  return run;
}

test("a suite's runs are its own, and those of the clusters that it looked at, since it began: nobody else's", async () => {
  const began = new Date("2026-11-30T10:00:00.500Z");
  const later = (seconds: number) => new Date(began.getTime() + seconds * 1_000);
  using record = openSuiteRecord(join(state, "suites", "s"));
  const done = { outcome: "passed", at: began.toISOString(), elapsed: milliseconds(1) } as const;
  record.claims.append({ file: "specs/a.spec.ts", line: 1, area: "a", title: "it is", cluster: "kpi", ...done });
  record.work.append({ name: "fork", cluster: "kpi-f1", ...done });
  started(state, "kpi", later(-60));
  const runs = [
    started(state, "kpi", began),
    started(state, "kpi-f1", later(5)),
    started(record.dir, "rebuilt", later(9)),
  ];
  started(state, "mine", later(7));
  const paths = { state, cache: join(state, "cache") };
  const said: string[] = [];
  await writeSuiteResults({ record, tests: [], began, paths, say: (line) => said.push(line), trace: true });
  const results = JSON.parse(readFileSync(join(record.dir, "results.json"), "utf8"));
  expect(results.runs.map(({ run }: { run: string }) => run)).toEqual(runs);
  expect(said).toEqual([`results: ${record.dir}/{junit.xml,results.json,trace.json}`]);
});
