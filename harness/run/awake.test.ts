import { expect, test } from "bun:test";
import { nodeState } from "../tools/kube-state.ts";
import { stillAsleep } from "./awake.ts";

const node = (name: string, status: string) =>
  nodeState({ metadata: { name }, status: { conditions: [{ type: "Ready", status, message: "stopped posting" }] } });
const nodes = [node("a", "True"), node("b", "True")];
const leases = (a: number, b: number) => [
  { node: "a", renewedAt: a },
  { node: "b", renewedAt: b },
];

test.each([
  [{ nodes: [], leases: [], away: "" }, "the API has not answered"],
  [{ nodes: [], leases: [], away: "refused" }, "refused"],
  [{ nodes, leases: leases(99, 100), away: "" }, "a has not renewed its lease"],
  [{ nodes, leases: [], away: "" }, "a has not renewed its lease; b has not renewed its lease"],
  [
    { nodes: [node("a", "True"), node("b", "Unknown")], leases: leases(100, 100), away: "" },
    "b is not Ready: stopped posting",
  ],
  [{ nodes: [node("a", "True")], leases: leases(100, 100), away: "" }, "b is not Ready: it is not known"],
  [{ nodes, leases: leases(100, 101), away: "" }, undefined],
])("%# what is wanted", (life, wanted) => {
  expect(stillAsleep(["a", "b"], life, 100)).toBe(wanted as string);
});
