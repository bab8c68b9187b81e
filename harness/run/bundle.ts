import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { KpiError } from "../core/errors.ts";
import { run } from "../tools/exec.ts";
import { accessIfThere } from "./access.ts";
import { ClusterDir, clusterNames } from "./cluster.ts";
import { collectEvidence } from "./evidence.ts";
import { clusterOf } from "./log.ts";
import { declare } from "./journal.ts";
import { latestRun } from "./run-files.ts";

/**
 * Writes one archive (.tar.gz, 0600) with the directory of a cluster's run, the newest of all unless named, and, while the cluster is
 * there, fresh evidence from it. Works with the API or the nodes down: what cannot be had is named inside. Holds no secret. Returns its
 * path. Throws a `spec` error for a cluster that is not there and has left no run.
 */
export async function bundle(
  stateDir: string,
  name: string | undefined,
  out: string,
  signal: AbortSignal,
): Promise<string> {
  // An `up` that failed before it came to the cluster has left that as it was, with its own, older run.
  const latest = latestRun(stateDir, name);
  const known = clusterNames(stateDir);
  const newestOf = latest === undefined ? known[0] : clusterOf(latest);
  const cluster = new ClusterDir(stateDir, name ?? newestOf ?? "kpi");
  const newest = latest ?? cluster.read()?.run; // a fork's
  if (newest === undefined && name !== undefined)
    throw new KpiError("spec", `there is no cluster ${JSON.stringify(name)}, and no run of it`, {
      expected: known.join(", ") || "none exists",
    });
  if (newest === undefined) throw new KpiError("host", "there is no run to bundle", { hint: "kpi up makes one" });
  const staging = mkdtempSync(join(cluster.stateDir, "bundle-"));
  using _intent = declare(cluster.stateDir, { kind: "path", path: staging });
  try {
    const access = await accessIfThere(cluster);
    if (access !== undefined) await collectEvidence(access, join(staging, "now"), signal);
    const parts = ["-C", cluster.runsDir, newest, ...(access === undefined ? [] : ["-C", staging, "now"])];
    const tar = ["-c", 'umask 077 && exec tar -czf "$@"', "tar", out, ...parts];
    await run("sh", tar, { signal, accept: [0, 1] }); // 1: a file changed meanwhile, as a console that is written does
    return out;
  } finally {
    rmSync(staging, { recursive: true, force: true });
  }
}
