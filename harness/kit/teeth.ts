import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { KpiError, renderError } from "../core/errors.ts";
import type { Plan } from "../core/plan.ts";
import type { Bite, Teeth } from "../core/teeth.ts";
import type { Breakage } from "./breakage.ts";
import type { DeclaredClaim } from "./claims.ts";
import { type NodeHandle, recordedNode } from "./node.ts";
import type { SeenAt } from "./observers.ts";
import { fileName } from "./results.ts";

/** A value of which every part may be changed. */
export type Draft<T> = T extends object ? { -readonly [Key in keyof T]: Draft<T[Key]> } : T;

/** A cluster broken on purpose, as it would be seen, and the claims that must fail for it, each with what it must say. */
export interface Mutant {
  readonly at: string;
  /** What is broken, in the words of somebody who would report it. */
  readonly what: string;
  readonly kills: Readonly<Record<string, RegExp>>;
  /** Why no claim can notice it; such a mutant is listed as a survivor. */
  readonly survives?: string;
  change(seen: never, plan: Draft<Plan>): void;
}

/** Declares a mutant; only there for the types. */
export function mutant<At extends keyof SeenAt>(
  at: At,
  what: string,
  kills: Readonly<Record<string, RegExp>>,
  change: (seen: Draft<SeenAt[At]>, plan: Draft<Plan>) => void,
): Mutant {
  return { at, what, kills, change };
}

/** The same for what came of a destructive scenario. */
export function scenarioMutant<T>(
  scenario: string,
  what: string,
  kills: Readonly<Record<string, RegExp>>,
  change: (seen: Draft<T>, plan: Draft<Plan>) => void,
): Mutant {
  const full = Object.fromEntries(Object.entries(kills).map(([title, said]) => [`${scenario}: ${title}`, said]));
  return { at: scenario, what, kills: full, change };
}

/** Observations of a real cluster, as KPI_RECORD kept them. */
export interface Recording {
  readonly plan: Plan;
  seen(at: string): unknown;
  /** Whether there is a recording of it: some destructive scenarios have none yet. */
  has(at: string): boolean;
}

export function readRecording(dir: string): Recording {
  const path = (name: string) => join(dir, `${fileName(name)}.json`);
  const read = (name: string): unknown => JSON.parse(readFileSync(path(name), "utf8"));
  return { plan: read("plan") as Plan, seen: read, has: (name) => existsSync(path(name)) };
}

/** A claim that failed, and for a claim on each node, for which. */
export interface Refusal {
  readonly node?: string;
  readonly said: string;
}

/** How one claim took one state of the cluster: nothing when it held. Nodes can be asked nothing, unless handles are given. */
export async function refusals(
  claim: DeclaredClaim,
  seen: unknown,
  plan: Plan,
  handles: readonly NodeHandle[] = plan.nodes.map(recordedNode),
): Promise<Refusal[]> {
  const found: Refusal[] = [];
  for (const node of claim.eachNode ? handles : [undefined]) {
    try {
      await claim.judge(seen, plan, node);
    } catch (error) {
      const text =
        error instanceof KpiError ? renderError(error) : error instanceof Error ? error.message : String(error);
      const said = text.replace(/\x1b\[[0-9;]*m/g, "");
      found.push(node === undefined ? { said } : { node: node.name, said });
    }
  }
  return found;
}

/** The same in words: undefined when it held, else what it said, by node. */
export async function judge(claim: DeclaredClaim, seen: unknown, plan: Plan): Promise<string | undefined> {
  const found = await refusals(claim, seen, plan);
  if (found.length === 0) return undefined;
  return found.map(({ node, said }) => (node === undefined ? said : `${node}: ${said}`)).join("\n");
}

/** Judges every claim of a stage on every mutant of it. Breakages are only counted: they need a cluster. */
export async function showTeeth(
  claims: readonly DeclaredClaim[],
  areas: Readonly<Record<string, readonly Mutant[]>>,
  recording: Recording,
  breakages: readonly Breakage[],
): Promise<Teeth> {
  const broken: string[] = [];
  const recorded = claims.filter(({ stage }) => recording.has(stage));
  for (const claim of recorded) {
    const said = await judge(claim, recording.seen(claim.stage), recording.plan);
    if (said !== undefined) broken.push(`${claim.site.file}: ${claim.title}: ${said.split("\n")[0]}`);
  }
  const bites: Bite[] = [];
  for (const [area, mutants] of Object.entries(areas))
    for (const each of mutants) bites.push(await bite(area, each, claims, recording));
  return {
    claims: recorded.map(({ site, title, stage }) => ({
      file: site.file,
      title,
      stage,
      kills: bites.filter(({ named, missing }) => missing.length === 0 && named.includes(title)).length,
    })),
    bites,
    broken,
    real: {
      breakages: breakages.length,
      claims: recorded.filter(({ title }) => breakages.some(({ kills }) => title in kills)).length,
    },
    unrecorded: [...new Set(claims.filter(({ stage }) => !recording.has(stage)).map(({ stage }) => stage))],
  };
}

async function bite(
  area: string,
  mutant: Mutant,
  claims: readonly DeclaredClaim[],
  recording: Recording,
): Promise<Bite> {
  const seen = recording.seen(mutant.at); // read anew, so it may be changed
  const plan = structuredClone(recording.plan);
  const before = JSON.stringify([seen, plan]);
  mutant.change(seen as never, plan as never);
  const killedBy: Record<string, string> = {};
  for (const claim of claims.filter(({ stage }) => stage === mutant.at)) {
    const said = await judge(claim, seen, plan);
    if (said !== undefined) killedBy[claim.title] = said;
  }
  const missing = Object.entries(mutant.kills).flatMap(([title, pattern]) => {
    const said = killedBy[title];
    if (!claims.some((claim) => claim.title === title)) return [`there is no claim "${title}"`];
    if (said === undefined) return [`"${title}" holds`];
    return pattern.test(said) ? [] : [`"${title}" fails, but does not say ${pattern}: ${said}`];
  });
  if (JSON.stringify([seen, plan]) === before) missing.push("the mutant changes nothing");
  if (Object.keys(mutant.kills).length === 0) missing.push(mutant.survives ?? "no claim is named");
  return { area, at: mutant.at, what: mutant.what, killedBy, named: Object.keys(mutant.kills), missing };
}
