import { expect, test } from "bun:test";
import { minutes, seconds } from "../core/duration.ts";
import { extendExpect } from "./matchers.ts";

extendExpect();

test("durations and instants are compared, and named in words", () => {
  expect(seconds(5)).toBeWithin(seconds(5));
  expect(() => expect(minutes(2)).toBeWithin(seconds(30))).toThrow("expected 2m00s to be within 30.0s");
  expect(() => expect(Number.NaN).toBeWithin(seconds(30))).toThrow("to be within");
  expect(new Date(0)).toBeBefore(1);
  expect(() => expect(new Date(1_000)).toBeBefore(new Date(1_000))).toThrow("to be before 1970-01-01T00:00:01.000Z");
});
