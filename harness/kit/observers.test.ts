import { expect, test } from "bun:test";
import { KpiError } from "../core/errors.ts";
import type { NodeSeen } from "./node-seen.ts";
import { type Look, observers } from "./observers.ts";

/** A look at two nodes, of which the second answers nobody, and whose pods do not start, by an API that is away. */
const look = {
  run: { plan: { nodes: [{ name: "a" }, { name: "b" }] } },
  session: { access: { kube: () => ({ nodes: () => Promise.reject(new KpiError("host", "the API is away")) }) } },
  nodes: {
    async node({ name }: { name: string }) {
      if (name === "b") throw new KpiError("host", "no connection");
      return { hostname: name } as NodeSeen;
    },
  },
  workload: () => Promise.reject(new KpiError("deadline", "a pod on every node")),
} as unknown as Look;

test("what one node, the pods, or the API do not tell takes nothing else with it", async () => {
  const seen = await observers.networking.observe(look);
  expect(seen.nodes["a"]?.hostname).toBe("a");
  expect(() => seen.nodes["b"]).toThrow("b cannot be looked at: no connection");
  expect(() => seen.pods).toThrow("a pod on every node");
  expect(() => seen.podNetworks).toThrow("the API is away");
});
