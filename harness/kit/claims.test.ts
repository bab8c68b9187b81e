import { expect, test } from "bun:test";
import type { ClaimResult } from "../core/claim.ts";
import type { Plan } from "../core/plan.ts";
import { notYet, until } from "../core/deadline.ts";
import { seconds } from "../core/duration.ts";
import { type DeclaredClaim, type Judging, runClaim } from "./claims.ts";
import { Blocked } from "./shared-run.ts";

/** Until the clock has gone on so far, in milliseconds. */
async function pass(time: number): Promise<void> {
  const from = Date.now();
  await until("time", seconds(5), () => Date.now() - from >= time || notYet("not yet"));
}

/** What is noted of a claim whose look takes 200 ms, and when that was over. */
async function noted(look: () => unknown, judge: DeclaredClaim["judge"] = () => {}) {
  const results: ClaimResult[] = [];
  let looked = 0;
  const judging: Judging = {
    cluster: async () => "kpi",
    plan: async () => ({}) as Plan,
    async seen() {
      await pass(200);
      looked = Date.now();
      return look();
    },
  };
  const site = { path: "/specs/a.spec.ts", file: "specs/a.spec.ts", line: 1, column: 1 };
  const claim = { title: "t", spec: "s", stage: "ready", after: "ready", site, eachNode: false, judge } as const;
  await runClaim(claim, "t", judging, (result) => results.push(result)).catch(() => {});
  const [result, ...more] = results;
  expect(more).toEqual([]);
  return { outcome: result?.outcome, since: Date.parse(result?.at ?? "") - looked, elapsed: result?.elapsed };
}

test("a claim's time begins when it is judged: it stands after its look in a trace, and is not the wait for it", async () => {
  const fails = (error: Error) => () => {
    throw error;
  };
  const looks = [() => 1, fails(new Blocked("boot", "no")), fails(new Error("no"))];
  const [judged, ...others] = await Promise.all(looks.map((look) => noted(look, () => pass(50))));
  expect([judged, ...others].map((claim) => claim?.outcome)).toEqual(["passed", "blocked", "failed"]);
  expect(judged?.elapsed).toBeGreaterThanOrEqual(49);
  for (const { since, elapsed = Number.NaN } of others) {
    expect(since).toBeGreaterThanOrEqual(0);
    expect(elapsed).toBeLessThan(150); // the wait was longer
  }
  expect(judged?.since).toBeGreaterThanOrEqual(0);
});
