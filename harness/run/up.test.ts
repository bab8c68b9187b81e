import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KpiError } from "../core/errors.ts";
import type { RunEvent } from "../core/event.ts";
import { projectRoot } from "../core/paths.ts";
import { type Plan, planCluster } from "../core/plan.ts";
import { loadSpec } from "../core/spec.ts";
import { ClusterDir, type ClusterState } from "./cluster.ts";
import { up } from "./up.ts";

let dir: string;
let cluster: ClusterDir;
let events: RunEvent[];
const plan: Plan = planCluster(await loadSpec(join(projectRoot, "specs", "lab.yaml")), { kind: "lab" });
const interrupted = AbortSignal.abort(new KpiError("interrupted", "interrupted by SIGINT"));

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), "up-"));
  cluster = new ClusterDir(join(dir, "state"), plan.cluster);
  events = [];
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const go = (checkpoint = false) =>
  up({
    paths: { cache: join(dir, "cache"), state: cluster.stateDir },
    plan,
    ...{ spec: "lab.yaml", why: "as asked for", fresh: true, keep: false, warm: false, checkpoint },
    signal: interrupted,
    listen: (event) => events.push(event),
  });

test("an up that ends before anything can be made leaves the cluster that it was to replace", async () => {
  const state: ClusterState = { plan, spec: "lab", phase: "ready", run: "before", image: "i", since: "now" };
  cluster.write(state);
  mkdirSync(cluster.labDir, { recursive: true });
  const error = await go().catch((error: unknown) => error);
  expect(error).toMatchObject({ kind: "interrupted" });
  expect([cluster.read()?.run, existsSync(cluster.labDir)]).toEqual(["before", true]);
  expect(existsSync(join(cluster.stateDir, "journal"))).toBe(false);
  expect(events.at(-1)).toMatchObject({ type: "run-ended", outcome: "interrupted" });
});

test("whatever ends an up, its record is closed", async () => {
  cluster.write({} as ClusterState); // not what a kpi writes
  expect(await go().catch((error: unknown) => error)).toMatchObject({ kind: "host" });
  expect(events.map(({ type }) => type)).toEqual(["run-started", "run-ended"]);
});

test("a state directory that can hold no lab, and a bad size, are said before there is a run", async () => {
  const space = process.env["KPI_CHECKPOINT_SPACE"];
  process.env["KPI_CHECKPOINT_SPACE"] = "12GB";
  try {
    expect(await go(true).catch((error: unknown) => error)).toMatchObject({ kind: "spec" });
  } finally {
    if (space === undefined) delete process.env["KPI_CHECKPOINT_SPACE"];
    else process.env["KPI_CHECKPOINT_SPACE"] = space;
  }
  cluster = new ClusterDir(join(dir, "s".repeat(100)), plan.cluster);
  expect(await go().catch((error: unknown) => error)).toMatchObject({ kind: "host" });
  expect(readdirSync(dir)).toEqual([]);
});
