import { judgeBudget } from "../core/calibration.ts";
import type { Calibration } from "../core/calibration.ts";
import { type ClaimResult, countClaims, type WorkResult } from "../core/claim.ts";
import type { Duration } from "../core/duration.ts";
import type { Plan } from "../core/plan.ts";
import type { NodeRecord, RunRecord } from "../core/record.ts";

/** A run, and the plan it followed where it got as far as having one. */
export interface RunResult {
  readonly record: RunRecord;
  readonly plan?: Plan;
}

/** All that `results.json` is made of. */
export interface SuiteResult {
  readonly suite: string;
  /** ISO 8601. */
  readonly startedAt: string;
  readonly elapsed: Duration;
  /** kernel, cpu, cpus, memoryMiB, load, qemu, libvirt */
  readonly host: Readonly<Record<string, string | number>>;
  readonly calibration?: Calibration;
  readonly runs: readonly RunResult[];
  readonly work: readonly WorkResult[];
  readonly claims: readonly ClaimResult[];
}

/**
 * `results.json`, described by docs/results.schema.json: what timing reports are built on. Every time is in milliseconds; every
 * budget stands there three times, as the spec says it, the factor, and what was asserted. Keys keep their order, so that two
 * results can be compared by `diff`.
 */
export function renderResults(result: SuiteResult): string {
  const { suite, startedAt, elapsed, host, calibration, runs, work, claims } = result;
  const document = {
    schema: 2,
    suite,
    startedAt,
    elapsedMs: ms(elapsed),
    host: Object.fromEntries(Object.entries(host).sort(([a], [b]) => (a < b ? -1 : 1))),
    calibration: calibration ?? null,
    totals: countClaims(claims),
    runs: [...runs].sort((a, b) => (a.record.run < b.record.run ? -1 : 1)).map(runJson),
    work: [...work].sort((a, b) => (a.at < b.at ? -1 : 1)).map(workJson),
    claims: [...claims].sort(byPlace).map(claimJson),
  };
  return `${JSON.stringify(document, null, 2)}\n`;
}

function runJson({ record, plan }: RunResult) {
  const { factor = 1 } = record;
  return {
    run: record.run,
    command: record.command,
    cluster: plan?.cluster ?? null,
    spec: record.spec,
    plan: plan?.digest ?? null,
    distribution: plan === undefined ? null : `${plan.k3s.distribution} ${plan.k3s.version}`,
    accelerator: record.calibration?.accelerator ?? null,
    startedAt: record.startedAt,
    outcome: record.outcome,
    elapsedMs: ms(record.elapsed ?? record.now),
    load: record.host["load"] ?? null,
    factor,
    stages: record.stages.map((stage) => {
      const budget = plan?.stages.find(({ name }) => name === stage.stage)?.budget;
      const took = stage.elapsed ?? ((record.now - stage.from) as Duration);
      const judged = budget === undefined ? undefined : judgeBudget(took, budget, factor);
      return {
        stage: stage.stage,
        outcome: stage.state,
        fromMs: ms(stage.from),
        elapsedMs: ms(took),
        budgetMs: judged?.budget ?? null,
        factor: judged?.factor ?? null,
        scaledBudgetMs: judged?.scaled ?? null,
        within: judged?.within ?? null,
      };
    }),
    nodes: record.nodes.map(nodeJson),
    error: record.error ?? null,
  };
}

/** Times of a node count from its domain's start; `atMs` is the host's clock, `mono` and `wall` the guest's own, in seconds. */
function nodeJson(node: NodeRecord) {
  const zero = node.since["started"] ?? 0;
  return {
    node: node.name,
    state: node.state,
    startedMs: ms(zero),
    readyMs: node.since["Ready"] === undefined ? null : ms(node.since["Ready"] - zero),
    steps: node.verdicts.map(({ step, ok, t, mono, wall }) => ({ step, ok, atMs: ms(t - zero), mono, wall })),
  };
}

const workJson = ({ name, cluster, outcome, at, elapsed }: WorkResult) => ({
  ...{ name, cluster, outcome, at },
  elapsedMs: ms(elapsed),
});

function claimJson(claim: ClaimResult) {
  const { file, line, area, title, cluster, stage, outcome, at, elapsed, why, error, attachments = [] } = claim;
  return {
    file,
    line,
    area,
    title,
    cluster: cluster ?? null,
    stage: stage ?? null,
    outcome,
    at,
    elapsedMs: ms(elapsed),
    why: why ?? null,
    error: error ?? null,
    attachments,
  };
}

const ms = (value: number) => Math.round(value * 1_000) / 1_000;
const byPlace = (a: ClaimResult, b: ClaimResult) =>
  a.file.localeCompare(b.file, "en") || a.line - b.line || a.title.localeCompare(b.title, "en");
