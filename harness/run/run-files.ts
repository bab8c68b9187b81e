import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { KpiError } from "../core/errors.ts";
import type { RunEvent } from "../core/event.ts";
import type { Plan } from "../core/plan.ts";
import { emptyRecord, fold, type RunRecord } from "../core/record.ts";
import { entries } from "../tools/directory.ts";
import { readWhole } from "../tools/whole-file.ts";
import { latestRun } from "./cluster.ts";

/** A run's directory; without an id the newest one's. Throws a `spec` error that names the runs there are. */
export function runDir(state: string, id: string | undefined): string {
  const name = id ?? latestRun(state);
  if (name === undefined) throw new KpiError("host", "there is no run yet", { hint: "make one with: kpi up" });
  const dir = join(state, "runs", name);
  if (!name.includes("/") && existsSync(join(dir, "events.ndjson"))) return dir;
  const known = entries(join(state, "runs")).slice(-5);
  throw new KpiError("spec", `there is no run ${JSON.stringify(name)}`, {
    expected: known.join(", ") || "none exists",
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
