import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { milliseconds } from "../core/duration.ts";
import type { RunEvent, RunEventBody } from "../core/event.ts";
import { projectRoot } from "../core/paths.ts";
import { planCluster } from "../core/plan.ts";
import { emptyRecord, fold } from "../core/record.ts";
import { loadSpec } from "../core/spec.ts";
import { planChanges, renderPlan } from "./plan.ts";
import { clip, plainEvent, progressText, renderTable } from "./table.ts";
import { renderTimeline, shares } from "./timeline.ts";

const spec = await loadSpec(join(projectRoot, "specs", "lab.yaml"));
const plan = planCluster(spec, { kind: "lab" });
const at = (t: number, body: RunEventBody): RunEvent => ({ at: "2026-11-23T02:00:00.000Z", t, ...body });
const ended = (t: number, stage: "apply" | "boot" | "ready", took: number) =>
  at(t, { type: "stage-ended", stage, outcome: "passed", elapsed: milliseconds(took) });
const verdict = { node: "k3s-cp-01", step: "dns", ok: true, detail: "192.168.122.1 answers", wall: 1, mono: 20 };
const calibration = {
  accelerator: "tcg" as const,
  qemu: "QEMU emulator version 10.0.2",
  cpu: "some",
  cores: 2,
  runs: [9_700, 9_600],
  work: 9_600,
  reference: 240,
  parallel: 2,
  at: "2026-11-23T01:00:00.000Z",
  load: 0.1,
};
const run = [
  at(0, {
    type: "run-started",
    run: "r",
    command: "up",
    spec: "lab.yaml",
    why: "because",
    plan: plan.digest,
    host: {},
  }),
  at(50, { type: "calibrated", calibration, factor: 40 }),
  at(100, { type: "stage-started", stage: "apply" }),
  at(2_000, { type: "note", stage: "apply", text: "lab is up" }),
  at(3_500, {
    type: "command",
    program: "terraform",
    command: "terraform apply",
    elapsed: milliseconds(3_000),
    code: 0,
  }),
  at(3_800, {
    type: "command",
    program: "terraform",
    command: "terraform init",
    elapsed: milliseconds(1_000),
    code: 0,
  }),
  at(4_000, { type: "node", node: "k3s-cp-01", state: "started" }),
  ended(4_100, "apply", 4_000),
  at(4_100, { type: "stage-started", stage: "boot" }),
  at(24_100, { type: "verdict", verdict }),
  ended(100_100, "boot", 96_000),
  at(100_100, { type: "stage-started", stage: "ready" }),
  at(103_000, { type: "node", node: "k3s-cp-01", state: "Ready" }),
  ended(104_000, "ready", 3_900),
  at(104_000, { type: "stage-started", stage: "checkpoint" }),
  at(110_000, {
    type: "command",
    program: "virsh",
    command: "virsh event --all",
    elapsed: milliseconds(110_000),
    code: 0,
  }),
  at(114_000, { type: "stage-ended", stage: "checkpoint", outcome: "passed", elapsed: milliseconds(10_000) }),
  at(115_000, { type: "run-ended", outcome: "passed", elapsed: milliseconds(115_000) }),
];
const record = run.reduce(fold, emptyRecord);

describe("timeline", () => {
  test("splits wall time into the guests' path, the checkpoint, outside programs and the harness", () => {
    const parts = { guests: 100_000, checkpoint: 10_000, tools: 3_300, harness: 1_700 };
    expect(shares(record)).toEqual({ total: 115_000, ...parts });
  });

  test("shows stages against their budgets and nodes step by step", () => {
    const text = renderTimeline(record, plan);
    expect(text).toContain("boot          1m36s  1.6s x 40.0 = 1m04s  over by 32.0s");
    expect(text).toContain("+1.9s lab is up");
    expect(text).toContain("k3s-cp-01        dns 20.1 · Ready 99.0");
    expect(text).toContain(
      "up to Ready 1m45s = guests 1m40s (95.2 %) + outside programs 3.3s (3.1 %) + kpi itself 1.7s (1.6 %)",
    );
    expect(text).toContain("and then 10.0s for the checkpoint");
  });
});

describe("table", () => {
  test("shows a running stage with its progress and each node with its last words", () => {
    const half = [
      ...run.slice(0, 3),
      at(500, {
        type: "progress",
        stage: "apply",
        what: "base volume",
        done: 3_000_000,
        total: 6_000_000,
        unit: "bytes",
      }),
      at(900, { type: "console", node: "k3s-cp-01", line: "Booting" }),
    ];
    const lines = renderTable(half.reduce(fold, emptyRecord), 1_100, { columns: 80, colour: false });
    expect(lines).toEqual([
      "▸ apply          1.0s  base volume 3.0/6.0 MB 50 %",
      "",
      "  k3s-cp-01        planned    Booting",
    ]);
  });

  test("clips to the terminal without cutting colours", () => {
    expect(clip("\x1b[32mabcdef\x1b[0m", 4)).toBe("\x1b[32mabc\x1b[0m");
  });

  test("progress in words", () => {
    expect(progressText({ what: "resources", done: 3, total: 11 })).toBe("resources 3/11");
    expect(progressText({ what: "waiting" })).toBe("waiting");
  });

  test("a refused step stands out in the plain log; console lines do not appear there", () => {
    expect(plainEvent(at(61_000, { type: "verdict", verdict: { ...verdict, ok: false } }))).toBe(
      "   1m01s k3s-cp-01: dns FAILED: 192.168.122.1 answers",
    );
    expect(plainEvent(at(1, { type: "console", node: "n", line: "x" }))).toBeUndefined();
  });
});

describe("plan", () => {
  test("prints every node and the gate", () => {
    const text = renderPlan(plan);
    for (const { name, address, mac } of plan.nodes) expect(text).toMatch(new RegExp(`${name} .*${address} .*${mac}`));
    expect(text).toContain("before k3s is touched, every node resolves artifacts.kpi.test");
  });

  test("changes name the field, before and after", () => {
    const nodes = spec.nodes.map((node) =>
      node.role === "server" ? node : { ...node, machine: { ...node.machine, memoryMiB: 1_536 } },
    );
    const changed = planCluster({ ...spec, nodes: nodes.slice(0, 2) }, { kind: "lab" });
    expect(planChanges(plan, plan)).toEqual([]);
    expect(planChanges(plan, changed)).toContain("nodes.k3s-worker-01.memoryMiB: 1024 -> 1536");
    expect(planChanges(plan, changed)).toContain('nodes.k3s-worker-02.role: "agent" -> absent');
  });
});
