import { afterAll, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Plan } from "../core/plan.ts";
import { ClusterDir } from "../run/cluster.ts";
import { JoinedRun } from "./shared-run.ts";

const state = mkdtempSync(join(tmpdir(), "kpi-joined-"));
afterAll(() => rmSync(state, { recursive: true, force: true }));

/** Somebody else's run, which ended at a gate that held. */
const evidence = ["/runs/x/evidence"];
const more = { details: ["served by the lab"], hint: "kpi supplies", evidence };
const error = { kind: "deadline", what: "install: k3s-cp-01: artefact: expected sha256 aa, got bb", ...more };
const run = "2026-11-25T00-00-00-kpi";
mkdirSync(join(state, "runs", run), { recursive: true });
writeFileSync(
  join(state, "runs", run, "events.ndjson"),
  [
    { type: "run-started", run, command: "up", spec: "specs/lab.yaml", why: "", plan: "x", host: {} },
    ...["apply", "boot", "network"].flatMap((stage) => [
      { type: "stage-started", stage },
      { type: "stage-ended", stage, outcome: "passed", elapsed: 5 },
    ]),
    { type: "stage-started", stage: "install" },
    { type: "stage-ended", stage: "install", outcome: "failed", elapsed: 5, error },
    { type: "stage-ended", stage: "ready", outcome: "blocked", elapsed: 0, why: "install failed" },
    { type: "run-ended", outcome: "failed", elapsed: 20, error },
  ]
    .map((event, index) => JSON.stringify({ at: "2026-11-25T00:00:00.000Z", t: index, ...event }))
    .join("\n"),
);
const joined = new JoinedRun({} as Plan, new ClusterDir(state, "kpi"), run);

test("claims on stages that passed before a failure are judged", async () => {
  expect(await joined.stage("network")).toBeUndefined();
});

test.each(["install", "ready"] as const)(
  "claims on %s are blocked, by the stage that failed, its cause, and all that was said of it",
  async (stage) => {
    const blocked = await joined.stage(stage).catch((thrown: unknown) => thrown);
    expect(blocked).toMatchObject({
      kind: "blocked",
      by: "install",
      what: "blocked by install: k3s-cp-01: artefact: expected sha256 aa, got bb",
      ...more,
    });
  },
);

test("what went with the run blocks as well: nothing can be looked at any more, and a cluster of another run is no stand-in", async () => {
  const blocked = () => joined.access().catch((thrown: unknown) => thrown);
  expect(await blocked()).toMatchObject({ kind: "blocked", by: "install" });
  const plan = { cluster: "kpi", host: { kind: "libvirt", uri: "test:///default" }, nodes: [] } as unknown as Plan;
  joined.cluster.write({ plan, spec: "kpi", phase: "ready", run: "another", image: "", since: "" });
  expect(await blocked()).toMatchObject({ kind: "blocked", by: "install" });
});
