import { stat } from "node:fs/promises";
import type { Environment } from "../core/paths.ts";
import { findProgram } from "../tools/environment.ts";
import { run } from "../tools/exec.ts";
import type { MachineSource } from "./lock.ts";
import { sha256File } from "./store.ts";
import type { ResolvedFile } from "./supply.ts";

export type MachineProgram =
  | {
      readonly found: true;
      readonly version: string;
      readonly detail: string;
      readonly file: ResolvedFile;
      readonly age: Date;
    }
  | { readonly found: false; readonly why: string };

/** Looks for one of the programs on the PATH, in a version that is new enough. Says why when there is none. */
export async function findOnMachine(
  source: MachineSource,
  env: Environment,
  signal?: AbortSignal,
): Promise<MachineProgram> {
  const seen: string[] = [];
  for (const program of source.programs) {
    const path = findProgram(program, env);
    if (path === undefined) continue;
    const version = await versionOf(path, signal);
    if (version === undefined) seen.push(`${path} tells no version`);
    else if (compareVersions(version, source.atLeast) < 0) seen.push(`${path} is ${version}, below ${source.atLeast}`);
    else {
      const { size, mtime } = await stat(path);
      const file = { path, size, sha256: await sha256File(path) };
      return { found: true, version, detail: `${program} ${version} of this machine, ${path}`, file, age: mtime };
    }
  }
  return { found: false, why: seen.join("; ") || `no ${source.programs.join(" or ")} on the PATH` };
}

async function versionOf(path: string, signal: AbortSignal | undefined): Promise<string | undefined> {
  // Neither may call home, and a CLI configuration of the user's must not be needed for this.
  const env = { CHECKPOINT_DISABLE: "1", TF_CLI_CONFIG_FILE: "/dev/null" };
  const told = await run(path, ["version"], { env, ...(signal === undefined ? {} : { signal }) }).catch(
    () => undefined,
  );
  signal?.throwIfAborted();
  return /\bv?(\d+\.\d+\.\d+)/.exec(told?.stdout ?? "")?.[1];
}

/** By number, part by part: below zero when `a` is the older one. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => text.split(".").map(Number)) as [number[], number[]];
  for (let index = 0; index < Math.max(left.length, right.length); index++) {
    const difference = (left[index] ?? 0) - (right[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}
