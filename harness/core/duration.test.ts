import { expect, test } from "bun:test";
import { formatDuration, parseDuration } from "./duration.ts";

test.each([
  ["250ms", 250],
  ["30s", 30_000],
  ["1m30s", 90_000],
  ["2h", 7_200_000],
  ["1.5m", 90_000],
] as const)("parses %s", (text, expected) => {
  expect(Number(parseDuration(text))).toBe(expected);
});

test.each(["", "5", "s", "5 m", "5m!", "-5m", "m5"])("refuses %p", (text) => {
  expect(parseDuration(text)).toBeUndefined();
});

test.each([
  [420, "420ms"],
  [12_340, "12.3s"],
  [59_970, "1m00s"],
  [247_000, "4m07s"],
  [3_720_000, "1h02m"],
] as const)("shows %d as %s", (value, expected) => {
  expect(formatDuration(value)).toBe(expected);
});
