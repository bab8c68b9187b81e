import { expect, test } from "bun:test";
import { KpiError } from "../core/errors.ts";
import type { NodeSeen } from "./node-seen.ts";
import { type Look, observers } from "./observers.ts";

/** A look at two nodes, of which the second answers nobody, and whose pods do not start. */
const look = {
  run: { plan: { nodes: [{ name: "a" }, { name: "b" }] } },
  session: {},
  nodes: {
    async node({ name }: { name: string }) {
      if (name === "b") throw new KpiError("host", "no connection");
      return { hostname: name } as NodeSeen;
    },
  },
  workload: () => Promise.reject(new KpiError("deadline", "a pod on every node")),
} as unknown as Look;

test("what one node, or the pods, do not tell takes nothing else with it", async () => {
  const seen = await observers.networking.observe(look);
  expect(seen.nodes["a"]?.hostname).toBe("a");
  expect(() => seen.nodes["b"]).toThrow("b cannot be looked at: no connection");
  expect(() => seen.pods).toThrow("a pod on every node");
});
