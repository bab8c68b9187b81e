import { expect, test } from "bun:test";
import { KpiError } from "../core/errors.ts";
import type { NodePlan } from "../core/plan.ts";
import { shellQuote } from "../tools/exec.ts";
import type { NodeConnection } from "../tools/ssh.ts";
import { arisesIn, legible, pointTo } from "./call-site.ts";
import { nodeHandle } from "./node.ts";

const here = import.meta.path;
const caught = async (work: () => unknown): Promise<Error> => {
  try {
    await work();
  } catch (error) {
    return error as Error;
  }
  throw new Error("nothing was thrown");
};
const first = ({ stack = "" }: Error) => stack.split("\n").find((line) => /^\s+at /.test(line));

test("what the kit says of a node points to the line that asked", async () => {
  const exec = async () => ({ code: 7, stdout: "", stderr: "no\nnot at all" });
  const node = nodeHandle({ name: "n" } as NodePlan, "lab", async () => ({ exec }) as unknown as NodeConnection);
  const error = await caught(async () => void (await node.succeed("false")));
  expect(first(error)).toContain("/harness/kit/node.ts:");
  const own = error.stack?.split("\n").find((line) => line.includes(here));
  pointTo(error, { path: here, file: "x", line: 1, column: 1 });
  expect(first(error)).toBe(own as string);
  expect(error.stack).toContain("expected success, got exit code 7");
});

test("a claim that is one expression has no frame: it is where it was declared", async () => {
  const error = await caught(() => expect(1, "how many").toBe(2));
  expect(arisesIn(error, here)).toBe(true); // who called it, as the kit calls claims
  pointTo(error, { path: "/project/specs/a.spec.ts", file: "specs/a.spec.ts", line: 3, column: 9 });
  expect(first(error)).toBe("    at <claim> (/project/specs/a.spec.ts:3:9)");
  expect(error.stack).toContain("how many");
});

test("an error of ours is shown whole, with the spec's code, or none, and stays as it is", async () => {
  const error = new KpiError("host", "it is not there", { got: "nothing", hint: "look again" });
  const { stack } = error;
  const shown = legible(
    error,
    { path: "/project/specs/a.spec.ts", file: "specs/a.spec.ts", line: 3, column: 9 },
    "claim",
  );
  const text = "claim: it is not there\n  got: nothing\n  hint: look again";
  expect(shown.stack).toBe(`${text}\n    at <claim> (/project/specs/a.spec.ts:3:9)`);
  expect(shown).not.toHaveProperty("hint");
  expect(legible(error).stack).toBe(text.replace("claim", "error"));
  expect([error.message, error.stack]).toEqual(["it is not there", stack as string]);
});

test("a fault further below keeps its place", async () => {
  const error = await caught(() => [shellQuote(undefined as unknown as string[])]);
  expect(arisesIn(error, here)).toBe(false);
});
