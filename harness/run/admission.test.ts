import { expect, test } from "bun:test";
import { type Ticket, whyWait } from "./admission.ts";

const ticket = (name: string, since: number, admitted = false): Ticket => ({
  ...{ name, since, admitted, memoryMiB: 4_000 },
  owner: { pid: 1, start: 1, command: "" },
});
const mine = ticket("mine", 10);
const room = { memoryMiB: 10_000, cpus: 4 };

test("a fork alone begins at once", () => expect(whyWait(mine, [], room)).toBeUndefined());

test("as many begin as there are pairs of cores", () => {
  const one = ticket("one", 1, true);
  expect(whyWait(mine, [one], room)).toBeUndefined();
  expect(whyWait(mine, [one, ticket("two", 2, true)], { ...room, memoryMiB: 99_000 })).toBe(
    "one, two are being made, and 4 cores take 2 at a time",
  );
  expect(whyWait(mine, [one], { ...room, cpus: 1 })).toContain("one is being made");
});

test("memory counts that others will take", () => {
  expect(whyWait(mine, [ticket("one", 1, true)], { ...room, memoryMiB: 7_999 })).toBe(
    "4000 MiB of memory are needed, 3999 MiB are free",
  );
  expect(whyWait(mine, [], { ...room, memoryMiB: 4_000 })).toBeUndefined();
});

test("who came first goes first, and nobody waits for a later one", () => {
  expect(whyWait(mine, [ticket("early", 9)], room)).toBe("early came before");
  expect(whyWait(mine, [ticket("late", 11)], room)).toBeUndefined();
});
