import { homedir } from "node:os";
import { join, resolve } from "node:path";
import { KpiError } from "./errors.ts";

/** Variables, by name; what is undefined is not set. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** Where kpi keeps things: `cache` may be deleted while nothing runs, `state` describes what is running. Absolute paths. */
export interface KpiPaths {
  readonly cache: string;
  readonly state: string;
}

/** `$KPI_CACHE` and `$KPI_STATE`, or their defaults below the home directory. Throws a `spec` error for a path that our tools read otherwise. */
export function kpiPaths(env: Environment = process.env): KpiPaths {
  const home = env["HOME"] ?? homedir();
  const path = (name: string, ...standard: string[]) => {
    const found = resolve(env[name] || join(home, ...standard));
    // The libvirt provider takes paths for URLs, options of QEMU and virsh end at a comma, and ssh_config has no way to write the others.
    const [bad] = /[%#?,"\\\n\r]|\$\{/.exec(found) ?? [];
    if (bad === undefined) return found;
    const what = `${name}: a path with ${JSON.stringify(bad)} is not read as such by Terraform's libvirt provider, QEMU or ssh`;
    throw new KpiError("spec", what, { got: found, hint: `set ${name} to another directory` });
  };
  return { cache: path("KPI_CACHE", ".cache", "kpi"), state: path("KPI_STATE", ".local", "state", "kpi") };
}

/** The checkout that this code runs from: specs, templates and recipes are found below it. */
export const projectRoot = resolve(import.meta.dir, "..", "..");
