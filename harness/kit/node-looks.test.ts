import { expect, test } from "bun:test";
import type { NodePlan } from "../core/plan.ts";
import { NodeLooks, type ProbePart } from "./node-looks.ts";

const nodes = ["a", "b"].map((name) => ({ name }) as NodePlan);

/** What nodes are asked for by looks at the network of both and, where somebody wants it, at the whole of both. */
async function probes(whole: boolean, asking: readonly ("network" | "node")[]): Promise<readonly string[]> {
  const asked: string[] = [];
  const probe = async (node: NodePlan, part: ProbePart) => {
    asked.push(`${node.name} ${part}`);
    throw new Error("nobody answers");
  };
  const looks = new NodeLooks({ probe }, whole);
  await Promise.allSettled(asking.flatMap((what) => nodes.map((node) => looks[what](node))));
  return asked;
}

test("a node is asked once, and for no more than somebody wants to know", async () => {
  expect(await probes(false, ["network", "network"])).toEqual(["a network", "b network"]);
  expect(await probes(true, ["network", "node"])).toEqual(["a whole", "b whole"]);
  expect(await probes(false, ["node", "network"])).toEqual(["a whole", "b whole"]);
});

test("whoever wants more after all asks once more", async () => {
  expect(await probes(false, ["network", "node"])).toEqual(["a network", "b network", "a whole", "b whole"]);
});
