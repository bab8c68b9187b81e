import { expect, test } from "bun:test";
import { pauseMoments, renewal } from "./lease-moment.ts";

const moments = (seen: Record<string, number>, now: number) => pauseMoments(new Map(Object.entries(seen)), now);
const span = (found: readonly { at: number }[]) => (found.at(-1)?.at ?? 0) - (found[0]?.at ?? 0);

test("each node is paused just before it would renew, the earliest first", () => {
  const found = moments({ a: 1_000, b: 2_000, c: 1_500 }, 3_000);
  expect(found.map(({ node }) => node)).toEqual(["a", "c", "b"]);
  for (const { node, at } of found) {
    const before = ({ a: 1_000, b: 2_000, c: 1_500 }[node] ?? 0) + renewal - at;
    expect(before).toBeGreaterThan(300);
    expect(before).toBeLessThan(1_500);
  }
});

test("the order begins after the longest silence, so that they stand still for the shortest time", () => {
  // a and c are a second apart over the end of the period: the earliest to come would be b, nine seconds before a
  const found = moments({ b: 0, c: 8_500, a: 9_000 }, 9_100);
  expect(found.map(({ node }) => node)).toEqual(["c", "a", "b"]);
  expect(span(found)).toBe(1_500);
});

test("a moment that has passed comes again a period later", () => {
  const [only] = moments({ a: 0 }, 25_000);
  expect(only?.at).toBeGreaterThan(25_000);
  expect(only?.at).toBeLessThanOrEqual(25_000 + renewal);
});

test("nothing is asked of nobody", () => expect(moments({}, 0)).toEqual([]));
