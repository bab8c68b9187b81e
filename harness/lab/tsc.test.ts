import { dlopen } from "bun:ffi";
import { expect, test } from "bun:test";
import { counterKhz, hasConstantCounter, isRefused, withCounter } from "./tsc.ts";

test("a frequency is ticks over time", () => {
  expect(counterKhz({ ticks: 1_000n, at: 10 }, { ticks: 520_001_000n, at: 210 })).toBe(2_600_000);
});

test("a refused page is told from one at a high address", () => {
  const libc = dlopen("libc.so.6", {
    mmap: { args: ["ptr", "u64", "i32", "i32", "i32", "i64"], returns: "ptr" },
  });
  expect(isRefused(libc.symbols.mmap(null, 0, 0, 0, -1, 0) as number)).toBe(true); // of no bytes
  expect(isRefused(0x7f23_9d3c_4000)).toBe(false);
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
