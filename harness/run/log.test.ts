import { expect, test } from "bun:test";
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import type { RunEvent } from "../core/event.ts";
import { scratch } from "../tools/scratch.ts";
import { clusterOf, RunLog, runId } from "./log.ts";
import { readEvents } from "./run-files.ts";

test("events are written as they happen", () => {
  using at = scratch();
  using log = new RunLog("r", at.dir, []);
  log.emit({ type: "note", text: "one" });
  expect(readEvents(log.dir)).toMatchObject([{ type: "note", text: "one" }]);
});

test("on a full disk the first event fails the run, and its end is heard all the same", () => {
  using at = scratch();
  mkdirSync(join(at.dir, "r"));
  symlinkSync("/dev/full", join(at.dir, "r", "events.ndjson"));
  const heard: RunEvent[] = [];
  using log = new RunLog("r", at.dir, [(event) => void heard.push(event)]);
  expect(() => log.emit({ type: "note", text: "one" })).toThrow("ENOSPC");
  log.emit({ type: "note", text: "removing what was made" });
  expect(heard).toMatchObject([{ text: "one" }, { text: "removing what was made" }]);
});

test("a run's cluster is known by its name, also where another's name ends with it", () => {
  for (const cluster of ["kpi", "my-kpi"]) expect(clusterOf(runId(cluster, new Date()))).toBe(cluster);
});
