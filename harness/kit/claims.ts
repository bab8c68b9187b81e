import { test } from "bun:test";
import { basename } from "node:path";
import type { ClaimOutcome, ClaimResult } from "../core/claim.ts";
import { milliseconds, minutes } from "../core/duration.ts";
import { errorJson, KpiError } from "../core/errors.ts";
import type { StageName } from "../core/event.ts";
import type { Plan } from "../core/plan.ts";
import { isEnding } from "../run/journal.ts";
import { arisesIn, type CallSite, legible, placeOf, pointTo } from "./call-site.ts";
import type { NodeHandle } from "./node.ts";
import type { SeenAt } from "./observers.ts";
import { waitingFor } from "./progress.ts";
import { noteClaim } from "./results.ts";
import { Blocked } from "./shared-run.ts";

/** The stages whose nodes were looked at one by one. */
export type NodeStage = { [At in keyof SeenAt]: SeenAt[At] extends { nodes: unknown } ? At : never }[keyof SeenAt];

/** What a claim on the whole cluster is given. */
export interface ClaimContext<At extends keyof SeenAt> {
  readonly seen: SeenAt[At];
  readonly plan: Plan;
}

/** What a claim on one node is given: this node's part of `seen`, and the whole of it as `all`. */
export interface NodeContext<At extends NodeStage> extends ClaimContext<At> {
  readonly node: NodeHandle;
  readonly all: SeenAt[At];
}
export type NodeClaimContext<At extends NodeStage> = Omit<NodeContext<At>, "seen"> & {
  readonly seen: SeenAt[At]["nodes"][string];
};

export type Claim<At extends keyof SeenAt> = (context: ClaimContext<At>) => void | Promise<void>;
export type NodeClaim<At extends NodeStage> = (context: NodeClaimContext<At>) => void | Promise<void>;

/** A claim as it stands in its file; judging it is separate from running it, so that its teeth can be shown. */
export interface DeclaredClaim {
  readonly title: string;
  readonly spec: string;
  /** What it judges: the look at a stage, or a scenario's name. */
  readonly stage: string;
  /** The stage of the pipeline after which that can be seen. */
  readonly after: StageName;
  readonly site: CallSite;
  readonly eachNode: boolean;
  judge(seen: unknown, plan: Plan, node?: NodeHandle): void | Promise<void>;
}

/** Where claims go: to bun as tests, or, while teeth are shown, into a list. */
let collecting: DeclaredClaim[] | undefined;

/** Runs `load`, which imports spec files, and returns the claims that they declare instead of running them. */
export async function collectClaims(load: () => Promise<void>): Promise<readonly DeclaredClaim[]> {
  const list: DeclaredClaim[] = [];
  collecting = list;
  try {
    await load();
  } finally {
    collecting = undefined;
  }
  return list;
}

export const isCollecting = (): boolean => collecting !== undefined;

/** How a claim gets at what it judges. */
export interface Judging {
  plan(): Promise<Plan>;
  seen(): Promise<unknown>;
  node?(): Promise<NodeHandle>;
  cluster(): Promise<string>;
  /** Called after a failure: files that show more. */
  evidence?(): Promise<readonly string[]>;
}

/** Declares a claim: one bun test, run beside the others of its file. */
export function declare(claim: DeclaredClaim, titles: readonly string[], judging: (index: number) => Judging): void {
  if (collecting !== undefined) {
    collecting.push(claim);
    return;
  }
  titles.forEach((title, index) => {
    test.concurrent(title, () => runClaim(claim, title, judging(index)), minutes(40));
  });
}

/**
 * Waits for what a claim judges, judges it, and has it noted how that ended. Its time is that of the judging: the waiting before is the
 * stage's. Where it came to none, it is the moment of saying so.
 */
export async function runClaim(
  claim: DeclaredClaim,
  title: string,
  judging: Judging,
  toNote: (result: ClaimResult) => void = noteClaim,
): Promise<void> {
  let began: { readonly at: string; readonly clock: number } | undefined;
  const begin = () => (began = { at: new Date().toISOString(), clock: performance.now() });
  const note = (outcome: ClaimOutcome, place: CallSite, more: object = {}) => {
    const { at, clock } = began ?? begin();
    toNote({
      file: claim.site.file,
      line: place.line,
      area: basename(claim.site.file).split(".")[0] ?? "",
      title,
      stage: claim.after,
      outcome,
      at,
      elapsed: milliseconds(performance.now() - clock),
      ...more,
    });
  };
  let cluster: string | undefined;
  try {
    cluster = await judging.cluster();
    const [plan, seen, node] = [await judging.plan(), await judging.seen(), await judging.node?.()];
    begin();
    using _telling = waitingFor(`${cluster}: ${title}`); // one that acts on nodes
    await claim.judge(seen, plan, node);
    note("passed", claim.site, { cluster });
  } catch (thrown) {
    const { clock } = began ?? begin();
    const elapsed = milliseconds(performance.now() - clock); // without the evidence's time
    if (isEnding()) await new Promise<never>(() => {}); // as if it still ran: what fails by our leaving says nothing
    const error = thrown instanceof Error ? thrown : pointTo(new Error(`thrown: ${Bun.inspect(thrown)}`), claim.site);
    const named = cluster === undefined ? {} : { cluster };
    if (error instanceof Blocked) {
      note("blocked", claim.site, { ...named, why: `by ${error.by}`, error: errorJson(error) });
      throw legible(error, claim.site, "blocked");
    }
    const attachments = (await judging.evidence?.().catch(() => [])) ?? [];
    const known = error instanceof KpiError;
    const place = placeOf(error, claim.site);
    note("failed", place, {
      ...named,
      elapsed,
      error: known ? errorJson(error) : { kind: "claim", what: plainMessage(error) },
      ...(attachments.length > 0 ? { attachments } : {}),
    });
    if (known) throw legible(error, claim.site, "claim");
    throw arisesIn(error, import.meta.path) ? pointTo(error, claim.site) : error;
  }
}

const plainMessage = (error: unknown): string =>
  (error instanceof Error ? error.message : String(error)).replace(/\x1b\[[0-9;]*m/g, "").trim();
