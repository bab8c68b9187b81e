import { expect, test } from "bun:test";
import { KpiError } from "../core/errors.ts";
import { closingLine, readTally, runPart } from "./suite.ts";

test("reads bun's closing lines", () => {
  const lines = [
    "(pass) a pass",
    " 12 pass",
    " 2 skip",
    " 1 fail",
    " 40 expect() calls",
    "Ran 15 tests across 3 files. [1.0s]",
  ];
  expect(readTally(lines, 1)).toEqual({ passed: 12, failed: 1, skipped: 2 });
});

test("an error outside of a test is a failure", () => {
  expect(readTally([" 3 pass", " 0 fail", " 1 error"], 1)).toEqual({ passed: 3, failed: 1, skipped: 0 });
});

test("a run that counted nothing, or ended badly without saying why, is a failure", () => {
  expect(readTally([], 0).failed).toBe(1);
  expect(readTally([" 3 pass", " 0 fail"], 2).failed).toBe(1);
  expect(readTally([" 3 pass", " 0 fail"], 0).failed).toBe(0);
});

test("the closing line names skips only where there are some", () => {
  expect(closingLine({ passed: 3, failed: 0, skipped: 0 })).toBe("3 passed, 0 failed");
  expect(closingLine({ passed: 3, failed: 1, skipped: 2 })).toBe("3 passed, 1 failed, 2 skipped");
});

const going = { env: {}, signal: new AbortController().signal, say: () => {} };

test("a part that cannot be started is one failed test, with what was said of it", async () => {
  const { tally, tests } = await runPart({ name: "go", command: ["/not/there"], single: true }, going);
  expect(tally).toEqual({ passed: 0, failed: 1, skipped: 0 });
  expect(tests).toMatchObject([{ title: "go", outcome: "failed" }]);
  expect(tests[0]?.details[0]).toMatch(/^error: \/not\/there ended with exit code 127$/);
});

test("the tests of a part that crashes count, and that it crashed is one failure more", async () => {
  const crash = `echo "a.test.ts:"; echo "(pass) one [1.00ms]"; kill -SEGV $$`;
  const { tally, tests } = await runPart({ name: "units", command: ["sh", "-c", crash] }, going);
  expect(tally).toEqual({ passed: 1, failed: 1, skipped: 0 });
  expect(tests.map(({ title, outcome }) => [title, outcome])).toEqual([
    ["one", "passed"],
    ["units", "failed"],
  ]);
});

test("an interrupt is no failed test", async () => {
  const why = new KpiError("interrupted", "interrupted by SIGINT");
  const part = { name: "units", command: ["sleep", "60"] };
  expect(await runPart(part, { ...going, signal: AbortSignal.abort(why) }).catch((error: unknown) => error)).toBe(why);
});
