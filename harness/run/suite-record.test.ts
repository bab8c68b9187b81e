import { expect, test } from "bun:test";
import { appendFileSync, cpSync, existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ClaimResult } from "../core/claim.ts";
import { milliseconds } from "../core/duration.ts";
import { projectRoot } from "../core/paths.ts";
import { keepForSuite, openSuiteRecord, suiteDir } from "./suite-record.ts";

const claim = (title: string): ClaimResult => ({
  file: "specs/network.spec.ts",
  line: 12,
  area: "network",
  title,
  outcome: "passed",
  at: "2026-11-25T01:00:00.000Z",
  elapsed: milliseconds(3),
});

test("claims of several writers are read back, and a torn line costs only itself", () => {
  const dir = mkdtempSync(join(tmpdir(), "kpi-suite-"));
  try {
    using one = openSuiteRecord(join(dir, "s"));
    using two = openSuiteRecord(join(dir, "s"));
    one.claims.append(claim("a"));
    appendFileSync(join(dir, "s", "claims.ndjson"), '\n{"file":"specs/net'); // killed while it wrote
    two.claims.append(claim("b"));
    one.claims.append(claim("c"));
    const work = {
      name: "fork",
      cluster: "kpi",
      outcome: "failed",
      at: claim("a").at,
      elapsed: milliseconds(2),
    } as const;
    two.work.append(work);
    expect(one.work.read()).toEqual([work]);
    expect(two.claims.read().map(({ title }) => title)).toEqual(["a", "b", "c"]);
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("a process belongs to the suite that started it", () => {
  expect(suiteDir("/state", { KPI_SUITE: "/somewhere/else" })).toBe("/somewhere/else");
  expect(suiteDir("/state", {})).toMatch(/^\/state\/suites\/\d{4}-\d\d-\d\dT[\d-]+-\d+$/);
});

test("a run leaves with its suite what results are made of, and nothing anywhere without one", () => {
  const dir = mkdtempSync(join(tmpdir(), "kpi-suite-"));
  try {
    const run = join(dir, "state", "runs", "2026-11-25T00-41-55-kpi");
    cpSync(join(projectRoot, "fixtures", "recorded", "run"), run, { recursive: true });
    keepForSuite(run, {});
    expect(existsSync(join(dir, "suite"))).toBe(false);
    keepForSuite(run, { KPI_SUITE: join(dir, "suite") });
    const kept = join(dir, "suite", "runs", "2026-11-25T00-41-55-kpi");
    expect(readdirSync(kept).sort()).toEqual(["events.ndjson", "plan.json", "terraform.log"]);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
