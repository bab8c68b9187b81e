import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../tools/exec.ts";
import type { Plan } from "../core/plan.ts";
import { writeWhole } from "../tools/whole-file.ts";
import { bundle } from "./bundle.ts";
import { ClusterDir } from "./cluster.ts";
import { runDir } from "./run-files.ts";

const state = mkdtempSync(join(tmpdir(), "runs-"));
afterAll(() => rmSync(state, { recursive: true, force: true }));
const [first, second, fork] = ["2026-01-01T00-00-00-kpi", "2026-01-02T00-00-00-pair", "2026-01-03T00-00-00-kpi-f1"];
for (const run of [first, second]) writeWhole(join(state, "runs", run, "events.ndjson"), "");
mkdirSync(join(state, "runs", fork, "cold"), { recursive: true });

test("the newest run is the newest that has events; a fork has none", () => {
  expect(runDir(state, undefined)).toBe(join(state, "runs", second));
  expect(runDir(state, undefined, first)).toBe(join(state, "runs", first));
  expect(runDir(state, undefined, fork)).toBe(join(state, "runs", second));
  expect(() => runDir(state, fork)).toThrow("there is no run");
});

test("a bundle is of the cluster that was asked for, also when only its run is left; of none that is not there", async () => {
  const out = join(state, "out.tar.gz");
  const { signal } = new AbortController();
  await bundle(state, "kpi", out, signal);
  const { stdout } = await run("tar", ["-tzf", out]);
  expect(stdout.split("\n")).toEqual([`${first}/`, `${first}/events.ndjson`]);
  // Its last `up` failed before it came to the cluster.
  const plan = { cluster: "kpi", host: { kind: "lab" }, nodes: [] } as unknown as Plan;
  new ClusterDir(state, "kpi").write({ plan, spec: "", phase: "ready", run: first, image: "", since: "" });
  const failed = "2026-01-04T00-00-00-kpi";
  writeWhole(join(state, "runs", failed, "events.ndjson"), "");
  for (const name of ["kpi", undefined]) {
    await bundle(state, name, out, signal);
    expect((await run("tar", ["-tzf", out])).stdout).toStartWith(`${failed}/`);
  }
  const refused = await bundle(state, "kip", out, signal).catch((error: unknown) => error);
  expect(refused).toMatchObject({ kind: "spec", what: 'there is no cluster "kip", and no run of it' });
});
