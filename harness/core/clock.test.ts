import { expect, test } from "bun:test";
import { agree, offsetOfArrivals, offsetOfSamples } from "./clock.ts";

test("several readings narrow the offset to what all of them allow", () => {
  // The guest is 500 ms behind; its answers take 40 ms there and 10 ms back, then 5 ms there and 60 ms back.
  const samples = [
    { before: 1_000, guest: 540, after: 1_050 },
    { before: 2_000, guest: 1_505, after: 2_065 },
  ];
  expect(offsetOfSamples(samples)).toEqual({ ms: 502.5, uncertainty: 7.5, how: "ssh" });
  expect(Math.abs((offsetOfSamples(samples)?.ms ?? 0) - 500)).toBeLessThanOrEqual(7.5);
});

test("readings that contradict each other leave the quickest", () => {
  const samples = [
    { before: 1_000, guest: 540, after: 1_050 },
    { before: 2_000, guest: 9_000, after: 2_020 },
  ];
  expect(offsetOfSamples(samples)).toEqual({ ms: -6_990, uncertainty: 10, how: "ssh" });
  expect(offsetOfSamples([])).toBeUndefined();
});

test("console lines come late, never early: the promptest one counts", () => {
  const offset = offsetOfArrivals([
    { guest: 1_000, arrived: 2_200 },
    { guest: 5_000, arrived: 5_600 },
  ]);
  expect(offset).toEqual({ ms: 100, uncertainty: 500, how: "console" });
  expect(agree({ ms: 500, uncertainty: 10, how: "ssh" }, offset ?? { ms: 0, uncertainty: 0, how: "ssh" })).toBe(true);
  expect(agree({ ms: 700, uncertainty: 10, how: "ssh" }, offset ?? { ms: 0, uncertainty: 0, how: "ssh" })).toBe(false);
});
