import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { milliseconds } from "../core/duration.ts";
import type { ClaimResult } from "../core/claim.ts";
import { projectRoot } from "../core/paths.ts";
import { BunOutput, joinResults } from "./bun-output.ts";
import { readTally } from "./suite.ts";

const recorded = readFileSync(join(projectRoot, "fixtures", "recorded", "bun-test.txt"), "utf8").split("\n");
const output = new BunOutput();
for (const line of recorded) output.line(line, new Date("2026-11-25T01:00:00Z"));

test("every test of a recorded run is found once, and the sum is bun's own", () => {
  const count = (outcome: string) => output.tests.filter((one) => one.outcome === outcome).length;
  expect({ passed: count("passed"), failed: count("failed"), skipped: count("skipped") }).toEqual(
    readTally(recorded, 1),
  );
  expect(output.tests.length).toBe(144); // a file that cannot be loaded is one of them
});

test("a concurrent failure keeps what it failed with, which bun's own reporter loses", () => {
  const failed = output.tests.find(({ title }) => title === "grp > c1");
  expect(failed).toMatchObject({ file: "a.test.ts", outcome: "failed" });
  expect(failed?.details).toContain("Expected: 3");
  const outside = output.tests.find(({ file }) => file === "c.test.ts");
  expect(outside).toMatchObject({ title: "(outside of a test)", outcome: "failed" });
  expect(outside?.details).toContain("error: load");
});

test("a line that tells what is being waited for is no detail of the failure that follows", () => {
  const output = new BunOutput();
  for (const line of ["a.test.ts:", "… kpi: boot: started", "error: no", "(fail) x [1.00ms]"]) output.line(line);
  expect(output.tests.map(({ title, details }) => ({ title, details }))).toEqual([
    { title: "x", details: ["error: no"] },
  ]);
});

test("what looks like a sum ends nothing unless bun's last line follows, and that of a suite inside of a test does not either", () => {
  const nested = [" 3 pass", " 1 fail", " 9 expect() calls"];
  const ran = "Ran 4 tests across 1 file. [1.00s]";
  for (const inner of [nested, [...nested, ran], ["2 tests failed:", "", ...nested, ran, "code 1"], ["5 errors"]]) {
    const output = new BunOutput();
    const end = ["1 tests failed:", "(fail) x [1.00ms]", "", " 1 pass", " 1 fail", ran];
    for (const line of ["a.test.ts:", ...inner, "error: no", "(fail) x [1.00ms]", "(pass) y", ...end])
      output.line(line);
    expect(output.tests.map(({ title, outcome }) => `${title} ${outcome}`)).toEqual(["x failed", "y passed"]);
    expect(output.tests[0]?.details).toEqual([...inner, "error: no"]);
  }
});

test("every file of tests is known by its heading, whatever its directory is called", () => {
  const output = new BunOutput();
  const files = ["my specs/a.spec.ts", "für+alle/b.test.tsx", "../c_test.mts", "./d.test.cjs"];
  for (const file of files) for (const line of [`${file}:`, "(pass) x"]) output.line(line);
  expect(output.tests.map(({ file }) => file)).toEqual(files.map((file) => file.replace("./d", "d")));
});

const claim: ClaimResult = {
  file: "a.test.ts",
  line: 3,
  area: "a",
  title: "grp > c1",
  outcome: "blocked",
  at: "2026-11-25T01:00:00.000Z",
  elapsed: milliseconds(5),
  why: "by stage boot",
};

test("a claim that bun ran is one result, and one that bun never came to say anything about is not lost", () => {
  const joined = joinResults([claim, { ...claim, title: "its process was killed" }], output.tests);
  expect(joined.length).toBe(output.tests.length + 1);
  expect(joined.filter(({ title }) => title === "grp > c1")).toEqual([claim]);
  expect(joined.at(-1)?.title).toBe("its process was killed");
});

test("a claim cannot call passed what bun saw fail; unit tests tell their line", () => {
  const joined = joinResults([{ ...claim, outcome: "passed" }], output.tests);
  expect(joined.find(({ title }) => title === "grp > c1")).toMatchObject({
    outcome: "failed",
    error: { what: "expect(received).toBe(expected)" },
  });
  expect(joined.find(({ title }) => title === "grp > bad two")).toMatchObject({
    line: 2,
    area: "a",
    outcome: "failed",
  });
});
