import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { KpiError } from "../core/errors.ts";
import { run } from "../tools/exec.ts";
import { accessIfThere } from "./access.ts";
import { type ClusterDir, latestRun } from "./cluster.ts";
import { collectEvidence } from "./evidence.ts";
import { declare } from "./journal.ts";

/**
 * Writes one archive (.tar.gz, 0600) with the newest run's directory and, while the cluster is there, fresh evidence from
 * it. Works with the API or the nodes down: what cannot be had is named inside. Holds no secret. Returns its path.
 */
export async function bundle(cluster: ClusterDir, out: string, signal: AbortSignal): Promise<string> {
  const state = cluster.read();
  const newest = state?.run ?? latestRun(cluster.stateDir);
  if (newest === undefined) throw new KpiError("host", "there is no run to bundle", { hint: "kpi up makes one" });
  const staging = mkdtempSync(join(cluster.stateDir, "bundle-"));
  using _intent = declare(cluster.stateDir, { kind: "path", path: staging });
  try {
    const access = await accessIfThere(cluster);
    if (access !== undefined) await collectEvidence(access, join(staging, "now"), signal);
    const parts = ["-C", cluster.runsDir, newest, ...(access === undefined ? [] : ["-C", staging, "now"])];
    await run("sh", ["-c", 'umask 077 && exec tar -czf "$@"', "tar", out, ...parts], { signal });
    return out;
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}
