import { homedir } from "node:os";
import { join, resolve } from "node:path";

/** Where kpi keeps things: `cache` may be deleted at any time, `state` describes what is running. Absolute paths. */
export interface KpiPaths {
  readonly cache: string;
  readonly state: string;
}

/** `$KPI_CACHE` and `$KPI_STATE`, or their defaults below the home directory. */
export function kpiPaths(env: Readonly<Record<string, string | undefined>> = process.env): KpiPaths {
  const home = env["HOME"] ?? homedir();
  return {
    cache: resolve(env["KPI_CACHE"] || join(home, ".cache", "kpi")),
    state: resolve(env["KPI_STATE"] || join(home, ".local", "state", "kpi")),
  };
}

/** The checkout that this code runs from: specs, templates and recipes are found below it. */
export const projectRoot = resolve(import.meta.dir, "..", "..");
