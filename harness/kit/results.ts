import type { ClaimResult } from "../core/claim.ts";
import { milliseconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { kpiPaths } from "../core/paths.ts";
import { legible } from "./call-site.ts";
import { waitingFor } from "./progress.ts";
import { openSuiteRecord, ownSuite, suiteDir as chooseDir, type SuiteRecord } from "../run/suite-record.ts";

let record: SuiteRecord | undefined;
const began = new Date();

const open = (): SuiteRecord => (record ??= openSuiteRecord(chooseDir(kpiPaths().state)));

/** The directory of this suite: what `kpi test` chose and told us, else one of our own, named by the time it began. */
export const suiteDir = (): string => open().dir;

/** What a look, a scenario or a cluster is called where it is kept in a file or directory. */
export const fileName = (name: string): string => name.replaceAll(/[^a-z0-9]+/gi, "-");

/** Notes how a claim ended. */
export const noteClaim = (result: ClaimResult): void => open().claims.append(result);

/** Does something so that claims can be judged, and notes how long it took; see {@link WorkResult}. */
export async function noteWork<T>(cluster: string, name: string, work: () => Promise<T>): Promise<T> {
  const at = new Date().toISOString();
  const began = performance.now();
  let outcome: "passed" | "failed" = "failed";
  using _telling = waitingFor(`${cluster}: ${name}`);
  try {
    const done = await work();
    outcome = "passed";
    return done;
  } finally {
    open().work.append({ name, cluster, outcome, at, elapsed: milliseconds(performance.now() - began) });
  }
}

const endings: (() => Promise<unknown>)[] = [];

/** Has something done when the last file of all is done, side by side with others of this kind. Its error fails the run. */
export const atTheEnd = (ending: () => Promise<unknown>): void => void endings.push(ending);

/** What is to be done after the last file; results come last. */
export async function end(): Promise<void> {
  const done = await Promise.allSettled(endings.splice(0).map((ending) => ending()));
  await writeOwnResults();
  for (const ended of done)
    if (ended.status === "rejected") throw ended.reason instanceof KpiError ? legible(ended.reason) : ended.reason;
}

/** Where bun was called by hand and not by `kpi test`, which does it for all of its parts: results of the claims, if there were any. */
async function writeOwnResults(): Promise<void> {
  if (record === undefined || ownSuite() !== undefined) return;
  const { writeSuiteResults } = await import("../run/suite-results.ts"); // the preload of every unit test comes by here
  const say = (line: string) => console.error(line);
  await writeSuiteResults({ record, tests: [], began, paths: kpiPaths(), say, trace: false });
}
