import { appendFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import type { ClaimResult } from "../core/claim.ts";
import { kpiPaths } from "../core/paths.ts";

let chosen: string | undefined;

/** The directory of this suite: what `kpi test` chose and told us, else one of our own, named by the time it began. */
export function suiteDir(): string {
  const id = () => `${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}-${process.pid}`;
  chosen ??= process.env["KPI_SUITE"] || join(kpiPaths().state, "suites", id());
  mkdirSync(chosen, { recursive: true, mode: 0o700 });
  return chosen;
}

/** Notes how a claim ended: one line, written whole, so that several processes may write. */
export function noteClaim(result: ClaimResult): void {
  appendFileSync(join(suiteDir(), "claims.ndjson"), `${JSON.stringify(result)}\n`, { mode: 0o600 });
}
