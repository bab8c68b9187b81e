import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { kpiPaths } from "./core/paths.ts";
import { testKpi } from "./kit.ts";
import { declared } from "./run/journal.ts";

const entries = (path: string) =>
  declared(kpiPaths().state).filter(({ intent }) => intent.kind === "state" && intent.path === path);

test("a kpi of a test's own that is never called is nowhere", async () => {
  const kpi = testKpi();
  expect(entries(kpi.state)).toEqual([]);
  expect(existsSync(kpi.temporary)).toBe(false);
  await kpi[Symbol.asyncDispose]();
  expect(existsSync(kpi.temporary)).toBe(false);
});

test("one that was called is in the machine's journal until it is gone, so that the next command removes it if the test is killed", async () => {
  const kpi = testKpi();
  await kpi.succeed(["labs"]);
  expect(entries(kpi.state)).toHaveLength(1);
  await kpi[Symbol.asyncDispose]();
  expect(entries(kpi.state)).toEqual([]);
});
