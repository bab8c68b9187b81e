import { expect, test } from "bun:test";
import { kpiPaths } from "./core/paths.ts";
import { testKpi } from "./kit.ts";
import { declared } from "./run/journal.ts";

test("a kpi of a test's own is in the machine's journal until it is gone, so that the next command removes it if the test is killed", async () => {
  const entries = (path: string) =>
    declared(kpiPaths().state).filter(({ intent }) => intent.kind === "state" && intent.path === path);
  const kpi = testKpi();
  expect(entries(kpi.state)).toHaveLength(1);
  await kpi[Symbol.asyncDispose]();
  expect(entries(kpi.state)).toEqual([]);
});
