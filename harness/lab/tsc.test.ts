import { expect, test } from "bun:test";
import { counterKhz, hasConstantCounter, withCounter } from "./tsc.ts";

test("a frequency is ticks over time", () => {
  expect(counterKhz({ ticks: 1_000n, at: 10 }, { ticks: 520_001_000n, at: 210 })).toBe(2_600_000);
});

test("only a counter that the processor calls constant has one", () => {
  expect(hasConstantCounter("flags\t\t: fpu tsc constant_tsc nonstop_tsc\n")).toBe(process.arch === "x64");
  expect(hasConstantCounter("flags\t\t: fpu tsc\n")).toBe(false);
});

test.skipIf(!hasConstantCounter())("two measurements on this machine agree", async () => {
  const measure = () =>
    withCounter(async (now) => {
      const before = now();
      while (now().at - before.at < 20);
      return counterKhz(before, now());
    });
  const [first, second] = [await measure(), await measure()];
  expect(first).toBeGreaterThan(500_000);
  expect(Math.abs(first - second) / first).toBeLessThan(0.001);
});
