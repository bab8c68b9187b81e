import { closeSync, copyFileSync, existsSync, mkdirSync, openSync, readFileSync, writeSync } from "node:fs";
import { basename, join } from "node:path";
import type { ClaimResult, WorkResult } from "../core/claim.ts";
import type { Environment } from "../core/paths.ts";

/** What is written down as it ends, a line each. */
export interface Lines<T> {
  /** Appends one, whole or not at all; any number of processes may do so at once. */
  append(result: T): void;
  /** All so far, in the order in which they ended. */
  read(): T[];
}

/** What a suite wrote down, in its own directory: its claims (`claims.ndjson`), and what was done for them (`work.ndjson`). */
export interface SuiteRecord extends Disposable {
  readonly dir: string;
  readonly claims: Lines<ClaimResult>;
  readonly work: Lines<WorkResult>;
}

/** Under this name a suite's directory is handed to the processes that it starts. */
export const suiteVariable = "KPI_SUITE";
/** Set where shared clusters must be made from nothing, even where a checkpoint fits. */
export const coldVariable = "KPI_COLD";
/** Set where shared clusters that a suite makes go with it; bun test by hand leaves them for the next. */
export const passingVariable = "KPI_PASSING";
/** Whether the long specs are run (1) or skipped (0); where it is not set, those are that the arguments of bun test name. */
export const longVariable = "KPI_LONG";

/** The directory of the suite that this process belongs to; undefined where it belongs to none. */
export const ownSuite = (env: Environment = process.env): string | undefined => env[suiteVariable] || undefined;

/** A suite's directory: the one that this process belongs to, else a new one below `state` (not made yet). */
export function suiteDir(state: string, env: Environment = process.env): string {
  const given = ownSuite(env);
  if (given !== undefined) return given;
  return join(state, "suites", `${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}-${process.pid}`);
}

/** A run of a suite's own kpi, whose state goes with its test, leaves what results and trace are made of with the suite, if there is one. */
export function keepForSuite(runDir: string, env: Environment = process.env): void {
  const suite = ownSuite(env);
  if (suite === undefined) return;
  const dir = join(suite, "runs", basename(runDir));
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  for (const file of ["events.ndjson", "plan.json", "terraform.log", "guests.json"])
    if (existsSync(join(runDir, file))) copyFileSync(join(runDir, file), join(dir, file));
}

/** Opens the record of the suite in `dir`, which is made when it is not there. */
export function openSuiteRecord(dir: string): SuiteRecord {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  const claims = openLines<ClaimResult>(join(dir, "claims.ndjson"));
  const work = openLines<WorkResult>(join(dir, "work.ndjson"));
  return {
    ...{ dir, claims, work },
    [Symbol.dispose]() {
      claims[Symbol.dispose]();
      work[Symbol.dispose]();
    },
  };
}

/**
 * One write with O_APPEND is one piece on a local file system; the line feed in front keeps a line that a killed process left torn from
 * swallowing the next one.
 */
function openLines<T>(path: string): Lines<T> & Disposable {
  const file = openSync(path, "a", 0o600);
  return {
    append: (result) => void writeSync(file, `\n${JSON.stringify(result)}\n`),
    read: () =>
      readFileSync(path, "utf8")
        .split("\n")
        .flatMap(parse<T>),
    [Symbol.dispose]: () => closeSync(file),
  };
}

function parse<T>(line: string): T[] {
  if (line === "") return [];
  try {
    return [JSON.parse(line) as T];
  } catch {
    return []; // torn: its writer was killed
  }
}
