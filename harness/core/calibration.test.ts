import { describe, expect, test } from "bun:test";
import {
  type Calibration,
  factorFor,
  greatestFactor,
  judgeBudget,
  renderJudgement,
  scaledBudget,
} from "./calibration.ts";
import { seconds } from "./duration.ts";

const machine: Calibration = {
  accelerator: "tcg",
  qemu: "QEMU emulator version 10.0.2",
  cpu: "some",
  cores: 2,
  runs: [4_442, 4_133, 4_250],
  work: 4_133,
  reference: 240,
  parallel: 1.78,
  at: "2026-11-25T01:30:59.769Z",
  load: 1,
};

describe("factor", () => {
  test("is a guest's slowdown, and more where guests share too few cores", () => {
    expect(factorFor(machine, 1)).toBeCloseTo(17.22, 2);
    expect(factorFor(machine, 3)).toBeCloseTo((17.22 * 3) / 1.78, 1);
    expect(factorFor({ ...machine, parallel: 18 }, 3)).toBeCloseTo(17.22, 2);
  });

  test("never makes a promise tighter than the spec, and ends somewhere", () => {
    expect(factorFor({ ...machine, work: 120 }, 1)).toBe(1);
    expect(factorFor({ ...machine, work: 120, parallel: 1.5 }, 3)).toBe(1); // twice as fast, half of it each
    expect(factorFor({ ...machine, work: 240_000 }, 1)).toBe(greatestFactor);
  });
});

describe("budget", () => {
  test("is scaled, never shrunk, and exactly on time is within", () => {
    expect(scaledBudget(seconds(30), 1.5)).toBe(seconds(45));
    expect(scaledBudget(seconds(30), 0.5)).toBe(seconds(30));
    expect(judgeBudget(seconds(45), seconds(30), 1.5).within).toBe(true);
    expect(judgeBudget(seconds(45.001), seconds(30), 1.5).within).toBe(false);
  });

  test("is never shown without the raw time and the factor", () => {
    expect(renderJudgement(judgeBudget(seconds(50), seconds(30), 1.5))).toBe(
      "50.0s, budget 30.0s x 1.5 = 45.0s: over by 5.0s",
    );
  });
});
