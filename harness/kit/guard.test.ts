import { expect, test } from "bun:test";
import { changes } from "./guard.ts";

test("what a spec changed is named, and nothing else", () => {
  const before = { nodes: "a b", "a: boot": "1", "b: units": "Id=k3s-agent.service NRestarts=0" };
  expect(changes(before, { ...before })).toEqual([]);
  expect(changes(before, { ...before, nodes: "a", "a: boot": "2" })).toEqual([
    "nodes: b became nothing",
    "a: boot: 1 became 2",
  ]);
  expect(changes(before, { nodes: "a b", "a: boot": "1" })[0]).toContain("became nothing");
});
