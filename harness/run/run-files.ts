import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { KpiError } from "../core/errors.ts";
import type { RunEvent } from "../core/event.ts";
import type { Plan } from "../core/plan.ts";
import { emptyRecord, fold, type RunRecord } from "../core/record.ts";
import { entries } from "../tools/directory.ts";
import { clusterOf } from "./log.ts";
import { readWhole } from "../tools/whole-file.ts";

/** The names of all runs, which begin with the time, so the newest is the last. A fork's directory is none: it has no events. */
function runNames(state: string): string[] {
  const runs = join(state, "runs");
  return entries(runs).filter((run) => existsSync(join(runs, run, "events.ndjson")));
}

/** The newest run's name, of one cluster or whatever its cluster. */
export const latestRun = (state: string, cluster?: string): string | undefined =>
  runNames(state).findLast((run) => cluster === undefined || clusterOf(run) === cluster);

/**
 * A run's directory; without an id that of `preferred`, or the newest one's. Throws a `spec` error that names the runs there are.
 */
export function runDir(state: string, id: string | undefined, preferred?: string): string {
  const known = runNames(state);
  const name = id ?? known.find((run) => run === preferred) ?? known.at(-1);
  if (name === undefined) throw new KpiError("host", "there is no run yet", { hint: "make one with: kpi up" });
  if (known.includes(name)) return join(state, "runs", name);
  throw new KpiError("spec", `there is no run ${JSON.stringify(name)}`, {
    expected: known.slice(-5).join(", ") || "none exists",
  });
}

/** The events of a run, also of one that was killed: a torn last line is left out. */
export function readEvents(dir: string): RunEvent[] {
  return readFileSync(join(dir, "events.ndjson"), "utf8")
    .split("\n")
    .flatMap((line) => {
      try {
        return [JSON.parse(line) as RunEvent];
      } catch {
        return [];
      }
    });
}

/** A run folded from its directory. */
export const readRecord = (dir: string): RunRecord => readEvents(dir).reduce(fold, emptyRecord);

/**
 * The directory with the events of the cold start behind a run: the run's own, or, when it went on from a checkpoint, what the
 * checkpoint kept of the run that made the cluster.
 */
export function coldRun(dir: string): string {
  const kept = join(dir, "cold");
  return existsSync(kept) ? kept : dir;
}

/** The plan of a run; undefined when it ended before there was one to write. */
export function readPlan(dir: string): Plan | undefined {
  return readWhole(join(dir, "plan.json"));
}
