import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { KpiError } from "../core/errors.ts";
import type { Plan } from "../core/plan.ts";
import { isLabDir } from "../lab/lab.ts";
import { entries } from "../tools/directory.ts";
import type { Process } from "../tools/owner.ts";
import { writeWhole } from "../tools/whole-file.ts";

/** What is remembered of a cluster between commands. */
export interface ClusterState {
  readonly plan: Plan;
  /** The spec's path as given, and why it was taken. */
  readonly spec: string;
  /** `ready` after a passed `up`; `kept` after a failed one with --keep; `making` while an `up` runs or after it was killed. */
  readonly phase: "making" | "ready" | "kept";
  readonly run: string;
  /** Content key of the image its disks are clones of. */
  readonly image: string;
  readonly since: string;
  /** The checkpoint that it went on from, for a fork. */
  readonly origin?: { readonly checkpoint: string; readonly cluster: string };
  /** For whom it was made: it goes when that process has ended and nobody uses it. Absent where it stays until `kpi down`. */
  readonly goesWith?: Process | undefined;
}

/** A cluster's own directory and what lies in it. Directories 0700, files 0600. */
export class ClusterDir {
  readonly dir: string;
  readonly labDir: string;

  constructor(
    readonly stateDir: string,
    readonly name: string,
  ) {
    this.dir = join(stateDir, "clusters", name);
    this.labDir = join(stateDir, "labs", name);
  }

  /** A path below it. Nothing is made there: who asks may come after the cluster was removed. */
  path(...parts: string[]): string {
    return join(this.dir, ...parts);
  }

  get lockPath(): string {
    return join(this.stateDir, "locks", `${this.name}.lock`);
  }

  get runsDir(): string {
    return join(this.stateDir, "runs");
  }

  /** Whether this machine remembers it, readable or not. */
  exists(): boolean {
    return existsSync(join(this.dir, "cluster.json"));
  }

  /** What was written; undefined where there is no such cluster. Throws a `host` error for what is spoilt, or another version's. */
  read(): ClusterState | undefined {
    if (!this.exists()) return undefined;
    const path = join(this.dir, "cluster.json");
    const hint = `remove the cluster with: kpi down ${this.name}`;
    let state: unknown;
    try {
      state = JSON.parse(readFileSync(path, "utf8"));
    } catch (cause) {
      throw new KpiError("host", `${path} cannot be read`, { hint, cause });
    }
    if (isState(state)) return state;
    throw new KpiError("host", `${path} is not what this version of kpi writes`, { hint });
  }

  write(state: ClusterState): void {
    writeWhole(this.path("cluster.json"), `${JSON.stringify(state, null, 2)}\n`);
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}

/** Whether it has what every command begins with. */
function isState(value: unknown): value is ClusterState {
  const { plan, phase, run } = (value ?? {}) as Partial<ClusterState>;
  return (
    ["making", "ready", "kept"].includes(phase ?? "") &&
    typeof run === "string" &&
    typeof plan?.cluster === "string" &&
    typeof plan.host?.kind === "string" &&
    Array.isArray(plan.nodes)
  );
}

/** The clusters that this state directory knows, by name. */
export function clusterNames(stateDir: string): string[] {
  return entries(join(stateDir, "clusters"));
}

/** Throws a `spec` error unless a cluster, and the lab that it runs in, can be called so; `what` says where the name stands. */
export function checkClusterName(name: string, what: string): void {
  if (!name.includes("/") && isLabDir(join("/labs", name))) return;
  throw new KpiError("spec", `${what}: ${JSON.stringify(name)} is no name of a lab`, {
    expected: "1 to 40 lower case letters, digits and dashes that begin and end with a letter or digit",
  });
}
