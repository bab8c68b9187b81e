import { expect, test } from "bun:test";
import { firstToPause, lastRenewal, pauseInTurn, pauseMoment, renewal } from "./lease-moment.ts";

test("when a node renewed last says its lease, by a clock that may be off", () => {
  expect(lastRenewal(50_000, 0, 53_000)).toBe(50_000);
  expect(lastRenewal(110_000, 60_000, 53_000)).toBe(50_000);
});

test("a lease says nothing when its node's clock has been set since, or when its node is late", () => {
  expect(lastRenewal(50_000, -60_000, 53_000), "in the future").toBeUndefined();
  expect(lastRenewal(50_000, 0, 50_000 + renewal), "late").toBeUndefined();
});

test("a node is paused just before it would renew", () => {
  const before = 1_000 + renewal - pauseMoment(1_000, 3_000);
  expect(before).toBeGreaterThan(300);
  expect(before).toBeLessThan(1_500);
});

test("a moment that has passed comes again a period later", () => {
  const moment = pauseMoment(0, 25_000);
  expect(moment).toBeGreaterThan(25_000);
  expect(moment).toBeLessThanOrEqual(25_000 + renewal);
});

const first = (seen: Record<string, number>, now: number) => firstToPause(new Map(Object.entries(seen)), now);

test("the first is the one after the longest silence, so that they stand still for the shortest time", () => {
  expect(first({ a: 1_000, b: 2_000, c: 1_500 }, 3_000)).toBe("a");
  // a and c are a second apart over the end of the period: the earliest to come would be b, nine seconds before a
  expect(first({ b: 0, c: 8_500, a: 9_000 }, 9_100)).toBe("c");
  expect(first({}, 0)).toBeUndefined();
});

/** Lets nodes renew, each up to 0.4 s later than a period after the last time; gives when each was paused, in that order. */
function pausedAt(starts: Record<string, number>): [string, number][] {
  const next = new Map(Object.entries(starts));
  const seen = new Map<string, number>();
  const paused = new Map<string, number>();
  const turn = pauseInTurn();
  for (let now = 0; now < 60_000 && paused.size < next.size; now += 20) {
    for (const [node, at] of next) {
      if (paused.has(node) || now < at) continue;
      seen.set(node, now);
      next.set(node, now + renewal + 100 + (Math.round(at) % 300)); // differs from time to time, the same in each run
    }
    if (seen.size < next.size) continue;
    const due = turn(new Map([...seen].filter(([node]) => !paused.has(node))), now);
    if (due !== undefined) paused.set(due, now);
  }
  return [...paused];
}

test("all are paused within one period, in the order in which they renew", () => {
  const found = pausedAt({ a: 1_000, b: 2_000, c: 1_500 });
  expect(found.map(([node]) => node)).toEqual(["a", "c", "b"]);
  expect((found.at(-1)?.[1] ?? 0) - (found[0]?.[1] ?? 0)).toBeLessThan(2_000);
});

test("nodes that renew at equal distances are paused, too", () => {
  for (let off = -300; off <= 300; off += 20) {
    const found = pausedAt({ a: 100, b: 3_433 + off, c: 6_767 });
    expect(found.map(([node]) => node).sort(), `${off} ms off`).toEqual(["a", "b", "c"]);
    expect((found.at(-1)?.[1] ?? 0) - (found[0]?.[1] ?? 0), `${off} ms off`).toBeLessThan(9_000);
  }
});
