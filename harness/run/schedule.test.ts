import { expect, test } from "bun:test";
import { minutes, seconds } from "../core/duration.ts";
import { type ClusterShape, faultKinds, faultNodes, faultWords, parseFault } from "../core/fault-spec.ts";
import { randomSchedule, renderSchedule } from "./schedule.ts";

const shape: ClusterShape = {
  nodes: [
    { name: "cp", role: "server" },
    { name: "w1", role: "agent" },
    { name: "w2", role: "agent" },
  ],
};
const seeds = Array.from({ length: 300 }, (_, index) => (index * 2_654_435_761) >>> 0);

test("the same seed gives the same list, in this version and the next", () => {
  expect(randomSchedule(7, shape, minutes(2))).toEqual(randomSchedule(7, shape, minutes(2)));
  expect(renderSchedule(randomSchedule(7, shape, minutes(1))).split("\n")).toEqual([
    "  35ms  for 23.3s   partition w2 w1",
    "  9.3s  for 24.4s   power-cut cp",
    " 30.0s  for 23.7s   dns-down",
    " 46.1s  for 13.9s   kill-unit w1 k3s-agent",
  ]);
});

test("other seeds give other lists", () => {
  const lists = new Set(seeds.map((seed) => JSON.stringify(randomSchedule(seed, shape, minutes(3)))));
  expect(lists.size).toBe(seeds.length);
});

test("of any seed: in order, over in time, about the cluster's nodes, and never two at once about one node", () => {
  const seen = new Set<string>();
  for (const seed of seeds) {
    const total = minutes(2);
    const schedule = randomSchedule(seed, shape, total);
    expect(schedule.length).toBeGreaterThan(0);
    const until = new Map<string, number>();
    let last = 0;
    for (const { at, fault, for: stays } of schedule) {
      expect(at).toBeGreaterThanOrEqual(last);
      expect(at + stays).toBeLessThanOrEqual(total);
      expect(stays).toBeGreaterThanOrEqual(seconds(5));
      expect(parseFault(faultWords(fault), shape)).toEqual(fault); // what is drawn is what may be asked for
      for (const name of faultNodes(fault).length === 0 ? [fault.kind] : faultNodes(fault)) {
        expect(at).toBeGreaterThanOrEqual(until.get(name) ?? 0);
        until.set(name, at + stays);
      }
      seen.add(fault.kind);
      last = at;
    }
  }
  expect([...seen].sort()).toEqual([...faultKinds].sort());
});

test("a cluster of one node is never parted, and only the kinds asked for come", () => {
  const one = { nodes: shape.nodes.slice(0, 1) };
  for (const seed of seeds.slice(0, 50)) {
    for (const { fault } of randomSchedule(seed, one, minutes(3))) expect(fault.kind).not.toBe("partition");
    const some = randomSchedule(seed, shape, minutes(3), ["freeze", "loss"]);
    for (const { fault } of some) expect(["freeze", "loss"]).toContain(fault.kind);
  }
});

test.each([-1, 1.5, 2 ** 32, Number.NaN])("seed %p is refused", (seed) => {
  expect(() => randomSchedule(seed, shape, minutes(1))).toThrow("seed");
});

test("too short a time is refused", () => {
  expect(() => randomSchedule(1, shape, seconds(2))).toThrow("too short");
});
