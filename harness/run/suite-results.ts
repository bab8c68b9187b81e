import { existsSync } from "node:fs";
import { hostname } from "node:os";
import { basename, join } from "node:path";
import { milliseconds } from "../core/duration.ts";
import type { KpiPaths } from "../core/paths.ts";
import { githubAnnotations } from "../report/github.ts";
import { renderJUnit } from "../report/junit.ts";
import { renderResults, type RunResult } from "../report/results.ts";
import { renderTrace, type TraceSource } from "../report/trace.ts";
import { entries } from "../tools/directory.ts";
import { writeWhole } from "../tools/whole-file.ts";
import { type BunTest, joinResults } from "./bun-output.ts";
import { fullFingerprint } from "./fingerprint.ts";
import { runId } from "./log.ts";
import { readPlan, readRecord } from "./run-files.ts";
import type { SuiteRecord } from "./suite-record.ts";
import { collectIfRunning, readTraceSource } from "./trace.ts";

/** What a suite's results are made of. */
export interface SuiteRan {
  readonly record: SuiteRecord;
  /** What bun ran, and what else was checked. */
  readonly tests: readonly BunTest[];
  readonly began: Date;
  readonly paths: KpiPaths;
  readonly say: (line: string) => void;
  /** Whether to ask nodes that still run for their journals, and write a trace. */
  readonly trace: boolean;
}

/**
 * Writes `junit.xml`, `results.json` and, if wanted, `trace.json` beside the suite's claims, says where they and the evidence of failed
 * claims are, and writes GitHub's annotations to standard output when its runner is there to read them. Runs are those that the suite's
 * processes left in its directory, and those of `state` that began since, of clusters that it had to do with.
 */
export async function writeSuiteResults({ record, tests, began, paths, say, trace }: SuiteRan): Promise<void> {
  const claims = joinResults(record.claims.read(), tests);
  const work = record.work.read();
  const clusters = new Set([...claims, ...work].flatMap(({ cluster }) => cluster ?? []));
  const dirs = suiteRuns(record.dir, paths.state, began, clusters);
  const runs = dirs.map((dir): RunResult => {
    const plan = readPlan(dir);
    return { record: readRecord(dir), ...(plan === undefined ? {} : { plan }) };
  });
  const suite = basename(record.dir);
  const elapsed = milliseconds(Date.now() - began.getTime());
  const calibration = runs.findLast(({ record: { calibration } }) => calibration !== undefined)?.record.calibration;
  writeWhole(
    join(record.dir, "results.json"),
    renderResults({
      suite,
      startedAt: began.toISOString(),
      elapsed,
      host: await fullFingerprint(),
      ...(calibration === undefined ? {} : { calibration }),
      runs,
      work,
      claims,
    }),
  );
  const properties = suiteProperties(runs);
  writeWhole(join(record.dir, "junit.xml"), renderJUnit(claims, { suite, hostname: hostname(), properties }));
  if (trace) {
    for (const dir of dirs) await collectIfRunning(paths.state, dir);
    const sources = dirs.map((dir): TraceSource => readTraceSource(dir));
    writeWhole(join(record.dir, "trace.json"), renderTrace(sources, { claims, work }));
  }
  say(`results: ${record.dir}/{junit.xml,results.json${trace ? ",trace.json" : ""}}`);
  for (const path of new Set(claims.flatMap(({ attachments = [] }) => attachments))) say(`evidence: ${path}`);
  if (process.env["GITHUB_ACTIONS"] === "true") for (const line of githubAnnotations(claims)) say(line);
}

/** What a reader of JUnit must know to compare two suites: which distribution ran on what, and how much budgets were stretched. */
function suiteProperties(runs: readonly RunResult[]): Record<string, string> {
  const distinct = (pick: (run: RunResult) => string | undefined) =>
    [...new Set(runs.map(pick).filter((value) => value !== undefined))].join(", ") || "none ran";
  return {
    distribution: distinct(({ plan }) => plan && `${plan.k3s.distribution} ${plan.k3s.version}`),
    accelerator: distinct(({ record }) => record.calibration?.accelerator),
    factor: distinct(({ record }) => record.factor?.toFixed(1)),
  };
}

/** Directories of the runs that belong to a suite, oldest first. */
function suiteRuns(dir: string, state: string, began: Date, clusters: ReadonlySet<string>): string[] {
  const own = list(join(dir, "runs"));
  const known = new Set(own.map((run) => basename(run)));
  const first = runId("", began);
  const shared = list(join(state, "runs")).filter((run) => {
    const id = basename(run);
    return id >= first && clusters.has(id.slice(first.length)) && !known.has(id);
  });
  return [...own, ...shared].sort((a, b) => basename(a).localeCompare(basename(b), "en"));
}

const list = (dir: string): string[] =>
  entries(dir)
    .map((name) => join(dir, name))
    .filter((path) => existsSync(join(path, "events.ndjson")));
