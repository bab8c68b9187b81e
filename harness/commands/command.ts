import { KpiError } from "../core/errors.ts";
import { kpiPaths } from "../core/paths.ts";
import type { Host } from "../core/plan.ts";
import { ClusterDir, clusterNames } from "../run/cluster.ts";

/** An option of a command, as node:util parseArgs takes it, and what `--help` says about it. */
export interface Option {
  readonly type: "string" | "boolean";
  /** One letter that stands for it. */
  readonly short?: string;
  readonly help?: string;
  readonly value?: string;
}

/** What a command is called with. `rest` is what stood after `--`, or everything for a pass-through command. */
export interface Arguments {
  readonly values: Readonly<Record<string, string | boolean | (string | boolean)[] | undefined>>;
  readonly positionals: readonly string[];
  readonly rest: readonly string[];
}

export interface Command {
  readonly summary: string;
  readonly more?: string;
  /** As usage shows them; the last may be one or more (`[FILE...]`). */
  readonly positionals?: readonly string[];
  readonly options: Readonly<Record<string, Option>>;
  /** How usage shows what follows the options. */
  readonly tail?: string;
  /** All arguments go on unread. */
  readonly passThrough?: boolean;
  readonly hidden?: boolean;
  /** Leaves alone what a killed run left: it only looks, has to do with no cluster, or reaps by itself (`reap`, `test`). */
  readonly readOnly?: boolean;
  /** Gives the exit code. */
  run(args: Arguments): Promise<number>;
}

export const json: Option = { type: "boolean", help: "machine-readable output" };
export const host: Option = {
  type: "string",
  value: "HOST",
  help: "lab (default), or a libvirt URI such as qemu:///system",
};
export const cluster: Option = { type: "string", value: "NAME", help: "which cluster, when there are several" };
export const lab: Option = { type: "string", value: "LAB", help: "which lab: a cluster's or a fork's (kpi labs)" };

export const show = (text: string): number => {
  process.stdout.write(text.endsWith("\n") ? text : `${text}\n`);
  return 0;
};
export const flag = (args: Arguments, name: string): boolean => args.values[name] === true;
export const text = (args: Arguments, name: string): string | undefined => {
  const value = args.values[name];
  return typeof value === "string" ? value : undefined;
};

/** The host that `--host` names. */
export function parseHost(value: string | undefined): Host {
  if (value === undefined || value === "lab") return { kind: "lab" };
  const form = value.startsWith("qemu+ssh://")
    ? /^qemu\+ssh:\/\/([^/@]+@)?[^/@]+\/system(\?.*)?$/
    : /^qemu:\/\/\/system(\?.*)?$/;
  if (form.test(value) && URL.canParse(value)) return { kind: "libvirt", uri: value };
  throw new KpiError("spec", `--host: ${JSON.stringify(value)} is no host`, {
    expected: "lab, qemu:///system or qemu+ssh://user@machine/system",
  });
}

/** An argument that a command cannot do without. */
export function required(args: Arguments, index: number, what: string): string {
  const value = args.positionals[index];
  if (value === undefined) throw new KpiError("spec", `${what} is missing`, { hint: "kpi COMMAND --help" });
  return value;
}

/**
 * The cluster meant: `name` where one is given, else the lab or cluster of the options, else the only one that is no fork, else the only
 * one. `--lab` takes any lab that runs a cluster, forks too; `--cluster` what `kpi up` made, in a lab or on a host.
 */
export function pickCluster(args: Arguments, name?: string): ClusterDir {
  const { state } = kpiPaths();
  const [inLab, made] = [text(args, "lab"), text(args, "cluster")];
  const given = [name, inLab, made].filter((each) => each !== undefined);
  if (given.length > 1)
    throw new KpiError("spec", "a name, --lab and --cluster say the same thing", {
      expected: "one of them",
      got: given.join(", "),
    });
  if (name !== undefined) return new ClusterDir(state, name);
  const known = clusterNames(state);
  const own = known.filter((name) => !isFork(new ClusterDir(state, name)));
  const picked = inLab ?? made ?? (own.length === 1 ? own[0] : known.length === 1 ? known[0] : undefined);
  if (made !== undefined && !own.includes(made) && known.includes(made))
    throw new KpiError("spec", `${made} is a fork`, { expected: `--lab ${made}` });
  if (picked !== undefined) return new ClusterDir(state, picked);
  if (known.length === 0) throw new KpiError("host", "there is no cluster", { hint: "make one with: kpi up" });
  throw new KpiError("spec", "which cluster?", { expected: `--lab ${known.join(" | ")}` });
}

function isFork(cluster: ClusterDir): boolean {
  try {
    const known = cluster.read();
    return known?.origin !== undefined && known.plan.cluster !== cluster.name; // `up --warm` has an origin as well
  } catch {
    return false; // a cluster that cannot be read can still be named and removed
  }
}
