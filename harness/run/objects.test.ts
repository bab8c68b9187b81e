import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ClusterDir } from "./cluster.ts";
import { declared } from "./journal.ts";
import { holdObjects } from "./objects.ts";

const state = mkdtempSync(join(tmpdir(), "kpi-objects-"));
afterAll(() => rmSync(state, { recursive: true, force: true }));
const cluster = new ClusterDir(state, "kpi");
const objects = [{ apiVersion: "v1", kind: "ConfigMap", metadata: { name: "a", namespace: "b" } }];

/** An API that notes what it is asked, and refuses what it is told to. */
function api(refuses: readonly ("apply" | "delete")[]) {
  const asked: string[] = [];
  const answer = (what: "apply" | "delete") => async () => {
    asked.push(`${what}, ${declared(state).length} declared`);
    if (refuses.includes(what)) throw new Error(`${what}: no`);
  };
  return { asked, apply: answer("apply"), delete: answer("delete") };
}

test("objects are declared before they are made, and until they are gone", async () => {
  const kube = api([]);
  {
    await using _held = await holdObjects(kube, cluster, objects);
    expect(declared(state).length).toBe(1);
  }
  expect(kube.asked).toEqual(["apply, 1 declared", "delete, 1 declared"]);
  expect(declared(state)).toEqual([]);
});

test("where one is refused, those that were made go at once, and nothing is left to the next command", async () => {
  const kube = api(["apply"]);
  await expect(holdObjects(kube, cluster, objects)).rejects.toThrow("apply: no");
  expect(kube.asked).toEqual(["apply, 1 declared", "delete, 1 declared"]);
  expect(declared(state)).toEqual([]);
});

test("what cannot be removed is left to the next command, and why it was refused is what is told", async () => {
  await expect(holdObjects(api(["apply", "delete"]), cluster, objects)).rejects.toThrow("apply: no");
  expect(declared(state).length).toBe(1);
});
