import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Ajv } from "ajv";
import { type Calibration, factorFor, judgeBudget } from "../core/calibration.ts";
import type { ClaimResult, WorkResult } from "../core/claim.ts";
import { type Duration, milliseconds } from "../core/duration.ts";
import { projectRoot } from "../core/paths.ts";
import { planCluster } from "../core/plan.ts";
import { emptyRecord, fold } from "../core/record.ts";
import { loadSpec } from "../core/spec.ts";
import { renderResults } from "../report/results.ts";
import { renderTrace } from "../report/trace.ts";
import { readPlan, readRecord } from "./run-files.ts";
import { parseGuest, parseKubeEvents, readTraceSource } from "./trace.ts";

const recorded = join(projectRoot, "fixtures", "recorded");
const text = (file: string) => readFileSync(join(recorded, file), "utf8");
const dir = join(recorded, "run");
/** Measured on the machine of the recorded run. */
const calibration: Calibration = {
  accelerator: "tcg",
  qemu: "QEMU emulator version 10.0.2 (Debian 1:10.0.2+ds-2+deb13u1~bpo12+1)",
  cpu: "Intel(R) Xeon(R) Processor",
  cores: 2,
  runs: [3_908, 3_942, 3_975],
  work: 3_908,
  reference: 240,
  parallel: 2,
  at: "2026-11-25T02:43:08.480Z",
  load: 4.26,
};
const factor = factorFor(calibration, 3);

describe("the budgets of lab.yaml against a recorded run", () => {
  const record = readRecord(dir);
  const took = (stage: string) => record.stages.find((one) => one.stage === stage)?.elapsed ?? (0 as Duration);

  test.each(["boot", "install", "ready"] as const)(
    "%s keeps its budget, and 1.5 times slower breaks it",
    async (stage) => {
      const { budgets } = await loadSpec(join(projectRoot, "specs", "lab.yaml"));
      expect(judgeBudget(took(stage), budgets[stage], factor).within).toBe(true);
      expect(judgeBudget(milliseconds(1.5 * took(stage)), budgets[stage], factor).within).toBe(false);
    },
  );
});

const claim: ClaimResult = {
  file: "specs/network.spec.ts",
  line: 12,
  area: "network",
  title: "one address",
  outcome: "failed",
  at: "2026-11-25T01:00:00.000Z",
  elapsed: milliseconds(3),
  error: { kind: "claim", what: "two addresses" },
};

const work: WorkResult = {
  name: "worker power cut",
  cluster: "kpi-f1",
  outcome: "passed",
  at: "2026-11-25T01:00:01.000Z",
  elapsed: milliseconds(52_000.5),
};

/** What docs/results.schema.json finds wrong. */
function schemaErrors(document: unknown): string {
  const ajv = new Ajv({ allErrors: true, strict: false, validateFormats: false });
  const valid = ajv.validate(
    JSON.parse(readFileSync(join(projectRoot, "docs", "results.schema.json"), "utf8")),
    document,
  );
  return ajv.errorsText(valid ? null : ajv.errors);
}

describe("results.json", () => {
  test("says of every stage what it took, its budget, the factor and what was asserted", async () => {
    const calibrated = { at: "", t: 500, type: "calibrated", calibration, factor } as const;
    const record = fold(readRecord(dir), calibrated);
    const plan = planCluster(await loadSpec(join(projectRoot, "specs", "lab.yaml")), { kind: "lab" });
    const document = renderResults({
      suite: "s",
      startedAt: "2026-11-25T00:00:00.000Z",
      elapsed: milliseconds(1),
      host: { qemu: "10.0.2", cpu: "x" },
      runs: [{ record, plan }, { record: emptyRecord }],
      work: [work],
      claims: [claim],
    });
    expect(schemaErrors(JSON.parse(document))).toBe("No errors");
    const { runs, totals, host, work: done } = JSON.parse(document);
    expect(done).toEqual([{ ...work, elapsed: undefined, elapsedMs: 52_000.5 }]);
    expect(Object.keys(host)).toEqual(["cpu", "qemu"]);
    expect(totals).toEqual({ passed: 0, failed: 1, blocked: 0, skipped: 0 });
    expect(runs[1].stages.find(({ stage }: { stage: string }) => stage === "boot")).toMatchObject({
      outcome: "passed",
      elapsedMs: expect.any(Number),
      budgetMs: 1_600,
      factor,
      scaledBudgetMs: Math.round(1_600 * factor),
      within: true,
    });
    const server = runs[1].nodes.find(({ node }: { node: string }) => node === "k3s-cp-01");
    expect(server.steps.map(({ step }: { step: string }) => step).slice(0, 4)).toEqual([
      "interface",
      "address",
      "route",
      "dns",
    ]);
    expect(readPlan(dir)?.cluster).toBe("kpi");
  });
});

describe("trace", () => {
  const guest = parseGuest(text("guest.txt"));
  const offset = { ms: 400, uncertainty: 20, how: "ssh" } as const;
  const source = {
    ...readTraceSource(dir),
    guests: [{ node: "k3s-cp-01", offset, ...guest }],
    kubernetes: parseKubeEvents(text("kube-events.json"), "k3s-cp-01"),
  };
  const trace = JSON.parse(renderTrace([source]));
  const events: any[] = trace.traceEvents;
  const rows = new Map(
    events.flatMap(({ ph, name, pid, tid, args }) =>
      ph === "M" && name === "thread_name" ? [[`${pid}/${tid}`, args.name]] : [],
    ),
  );
  const processes = new Map(
    events.flatMap(({ ph, name, pid, args }) => (ph === "M" && name === "process_name" ? [[pid, args.name]] : [])),
  );

  test("a guest's own words are read: cloud-init's stages by uptime, its modules, the journal of k3s", () => {
    const stage = guest.spans.find(({ name }) => name === "stage init-local");
    // 20.71 s after a boot that lay 509.77 s before 1795569819.5
    expect(stage?.from).toBeCloseTo(1_000 * (1_795_569_819.5 - 509.77 + 20.71), 0);
    expect(guest.spans.find(({ name }) => name === "init-local/search-NoCloud")).toMatchObject({
      to: Date.parse("2026-11-25T01:15:27.776Z"),
    });
    expect(guest.journal[0]?.name).toBe("systemd[1]: Starting k3s.service - Kubernetes (k3s server)...");
    expect(guest.journal[0]?.at).toBeCloseTo(1_795_569_361_585.599, 2);
  });

  test("every source is there, and every event belongs to a named process and thread", () => {
    const wanted = ["harness", "terraform", "node k3s-cp-01", "node k3s-worker-01", "node k3s-worker-02", "kubernetes"];
    expect([...processes.values()]).toEqual(expect.arrayContaining(wanted));
    const shown = events.filter(({ ph }) => ph !== "M");
    for (const event of shown) {
      expect(rows.has(`${event.pid}/${event.tid}`)).toBe(true);
      expect(Number.isInteger(event.ts) && event.ts >= 0 && (event.dur ?? 0) >= 0).toBe(true);
    }
    expect(shown.filter(({ cat }) => cat === "terraform").length).toBe(34);
  });

  test("what a suite did for its claims lies on the same clock, a row a cluster", () => {
    const { otherData, traceEvents } = JSON.parse(renderTrace([source], { claims: [claim], work: [work] }));
    const span = (name: string) => traceEvents.find((event: any) => event.ph === "X" && event.name === name);
    const { pid, tid, ts, dur } = span(work.name);
    expect(Date.parse(otherData.startedAt) + ts / 1_000).toBe(Date.parse(work.at));
    expect(dur).toBe(1_000 * work.elapsed);
    expect(ts - span(claim.title).ts).toBe(1_000_000);
    const row = (event: any) => event.name === "thread_name" && event.pid === pid && event.tid === tid;
    expect(traceEvents.find(row).args.name).toBe("kpi-f1");
  });

  test("of several runs each has its own processes: nodes of different clusters may have the same names", () => {
    const other = source.events.map((event) => (event.type === "run-started" ? { ...event, run: "later-kpi" } : event));
    const { traceEvents } = JSON.parse(renderTrace([source, { ...source, events: other }], { work: [work] }));
    const named = traceEvents.filter(({ name }: any) => name === "process_name").map(({ args }: any) => args.name);
    const { run } = readRecord(dir);
    const twice = [...processes.values()].flatMap((name) => [`${name} (${run})`, `${name} (later-kpi)`]);
    expect(named.sort()).toEqual([...twice, "suite"].sort());
  });

  test("what a guest stamped is shifted by its measured offset, the others by their console lines", () => {
    const clock = (node: string) => trace.otherData.guests.find((one: any) => one.node === node);
    expect(clock("k3s-cp-01")).toMatchObject({ offsetMs: 400, uncertaintyMs: 20, how: "ssh", steady: true });
    expect(clock("k3s-worker-01")).toMatchObject({ uncertaintyMs: 500, how: "console", steady: null });
    const line = events.find(({ name }) => String(name).startsWith("systemd[1]: Starting k3s.service"));
    expect(Date.parse(trace.otherData.startedAt) + line.ts / 1_000).toBeCloseTo(1_795_569_361_585.599 + 400, 0);
  });

  test("a verdict, shifted, comes before the line that told of it, and within the clock's uncertainty of it", () => {
    const pid = [...processes].find(([, name]) => name === "node k3s-worker-01")?.[0];
    const ended = (step: string) =>
      events.find((event) => event.pid === pid && event.ph === "X" && event.name === step);
    const told = (step: string) => events.find((event) => event.pid === pid && event.ph === "i" && event.name === step);
    for (const step of ["interface", "dns", "service"]) {
      const late = told(step).ts - (ended(step).ts + ended(step).dur);
      expect(late).toBeGreaterThanOrEqual(0);
      expect(late).toBeLessThan(4_000_000);
    }
  });

  test("in one thread nothing overlaps unless it lies wholly inside", () => {
    for (const row of rows.keys()) {
      const spans = events.filter(({ ph, pid, tid }) => ph === "X" && `${pid}/${tid}` === row);
      const open: number[] = [];
      for (const { ts, dur } of spans.sort((a, b) => a.ts - b.ts || b.dur - a.dur)) {
        while (open.length > 0 && (open.at(-1) ?? 0) <= ts) open.pop();
        expect(ts + dur).toBeLessThanOrEqual(open.at(-1) ?? Number.POSITIVE_INFINITY);
        open.push(ts + dur);
      }
    }
  });
});
