import { expect, test } from "bun:test";
import type { NodePlan } from "../core/plan.ts";
import { NodeLooks, type ProbePart } from "./node-looks.ts";

const nodes = ["a", "b"].map((name) => ({ name }) as NodePlan);

/** What nodes are asked for by looks at the network of both and, where somebody wants it, at the whole of both. */
async function probes(
  wanted: "whole" | "network" | undefined,
  asking: readonly ("network" | "node" | "fingerprint")[],
  whole?: "over",
): Promise<readonly string[]> {
  const asked: string[] = [];
  const ask = async (...what: readonly string[]) => {
    asked.push(what.join(" "));
    throw new Error("nobody answers");
  };
  const probe = ({ name }: NodePlan, part: ProbePart, also?: string) => ask(name, part, ...(also ? [also] : []));
  const fingerprint = ({ name }: NodePlan) => ask(name, "fingerprint");
  const looks = new NodeLooks({ probe, fingerprint }, wanted, whole);
  await Promise.allSettled(asking.flatMap((what) => nodes.map((node) => looks[what](node))));
  return asked;
}

test("a node is asked once, and for no more than somebody wants to know", async () => {
  expect(await probes(undefined, ["network", "network"])).toEqual(["a network", "b network"]);
  expect(await probes("whole", ["network", "node"])).toEqual(["a whole", "b whole"]);
  expect(await probes(undefined, ["node", "network"])).toEqual(["a whole", "b whole"]);
});

test("everything of a cluster that is Ready waits for the node's own script; its network alone does not", async () => {
  expect(await probes("whole", ["fingerprint", "network", "node"], "over")).toEqual([
    "a over fingerprint",
    "b over fingerprint",
  ]);
  expect(await probes("network", ["network"], "over")).toEqual(["a network", "b network"]);
});

test("whoever wants more after all asks once more", async () => {
  expect(await probes(undefined, ["network", "node"])).toEqual(["a network", "b network", "a whole", "b whole"]);
});

test("a fingerprint comes with a look that is going to be taken, or by itself", async () => {
  const together = ["a whole fingerprint", "b whole fingerprint"];
  expect(await probes("whole", ["fingerprint", "network", "node"])).toEqual(together);
  expect(await probes("network", ["fingerprint", "network"])).toEqual([
    "a network fingerprint",
    "b network fingerprint",
  ]);
  expect(await probes(undefined, ["fingerprint"])).toEqual(["a fingerprint", "b fingerprint"]);
  expect(await probes("whole", ["node", "fingerprint"])).toEqual([
    "a whole",
    "b whole",
    "a fingerprint",
    "b fingerprint",
  ]);
});
