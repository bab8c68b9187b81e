import { expect, test } from "bun:test";
import { changes, lasting } from "./guard.ts";

test("what a spec changed is named, and nothing else", () => {
  const before = { nodes: "a b", "a: boot": "1", "b: units": "Id=k3s-agent.service NRestarts=0" };
  expect(changes(before, { ...before })).toEqual([]);
  expect(changes(before, { ...before, nodes: "a", "a: boot": "2" })).toEqual([
    "nodes: b became nothing",
    "a: boot: 1 became 2",
  ]);
  expect(changes(before, { nodes: "a b", "a: boot": "1" })[0]).toContain("became nothing");
});

test("another boot and other processes do not last; a unit that is gone, an account or an address does", () => {
  const before = {
    nodes: "a b",
    "a: boot": "1",
    "a: units": "k3s:12 ssh:7 ssh:9",
    "a: accounts and configuration": "/etc/passwd:1:2:3",
    "a: addresses": "eth0 10.0.0.1/24",
  };
  const changed = (after: object) => changes(lasting(before), lasting({ ...before, ...after }));
  expect(changed({ "a: boot": "2", "a: units": "k3s:500 ssh:8 ssh:10" })).toEqual([]);
  expect(changed({ "a: units": "ssh:8 ssh:10" })).toEqual(["a: units: k3s became nothing"]);
  expect(changed({ "a: accounts and configuration": "/etc/passwd:4:2:5" })).toHaveLength(1);
  expect(changed({ "a: addresses": "eth0 10.0.0.1/24 eth0 10.0.0.9/24" })).toHaveLength(1);
  expect(changed({ nodes: "a" })).toHaveLength(1);
});
