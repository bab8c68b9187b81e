import { expect, test } from "bun:test";
import { closingLine, readTally } from "./suite.ts";

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
