import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openSuiteRecord, suiteVariable } from "../run/suite-record.ts";

const dir = mkdtempSync(join(tmpdir(), "kpi-work-"));
const before = process.env[suiteVariable];
beforeAll(() => void (process.env[suiteVariable] = dir));
afterAll(() => {
  if (before === undefined) delete process.env[suiteVariable];
  else process.env[suiteVariable] = before;
  rmSync(dir, { recursive: true });
});

test("what is done for claims is noted as it ends, how it ended and how long it took, and its error goes on", async () => {
  // A module of its own: the other one may have opened this process's own suite.
  const { noteWork } = (await import(
    `${import.meta.dir}/results.ts?${import.meta.file}`
  )) as typeof import("./results.ts");
  const began = Date.now();
  expect(await noteWork("kpi", "look at ready", async () => 7)).toBe(7);
  await expect(noteWork("kpi-f1", "reboot", () => Promise.reject(new Error("it hangs")))).rejects.toThrow("it hangs");
  using record = openSuiteRecord(dir);
  const [look, scenario, ...more] = record.work.read();
  expect(more).toEqual([]);
  expect(look).toMatchObject({ name: "look at ready", cluster: "kpi", outcome: "passed" });
  expect(scenario).toMatchObject({ name: "reboot", cluster: "kpi-f1", outcome: "failed" });
  for (const { at, elapsed } of [look, scenario].filter((work) => work !== undefined)) {
    expect(Date.parse(at)).toBeGreaterThanOrEqual(began);
    expect(Date.parse(at) + elapsed).toBeLessThanOrEqual(Date.now() + 1);
  }
});
