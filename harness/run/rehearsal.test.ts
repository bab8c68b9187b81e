import { expect, test } from "bun:test";
import { notYet, until } from "../core/deadline.ts";
import { milliseconds } from "../core/duration.ts";
import { describeFault, type FaultSpec } from "../core/fault-spec.ts";
import type { Fault } from "./fault.ts";
import { rehearse, type RehearsalEvent } from "./rehearsal.ts";
import type { Scheduled } from "./schedule.ts";

const freeze = (node: string, at: number, stays: number): Scheduled => ({
  at: milliseconds(at),
  fault: { kind: "freeze", node },
  for: milliseconds(stays),
});

/**
 * A cluster that only writes down what is done to it. `broken`: the fault that cannot be inflicted; `longest`: the one that heals when others
 * have healed.
 */
function paper({ healing = 0, broken = "", longest = "" } = {}) {
  const log: string[] = [];
  const events: RehearsalEvent[] = [];
  const inflict = async (spec: FaultSpec): Promise<Fault> => {
    const what = describeFault(spec);
    if (what === broken) throw new Error(`${what} is not to be had`);
    log.push(`+ ${what}`);
    const heal = async () => {
      const from = performance.now();
      const first = () => what !== longest || log.some((line) => line.startsWith("- "));
      const slow = () => (performance.now() - from >= healing && first()) || notYet("still healing");
      await until("it heals", milliseconds(5_000), slow, { every: milliseconds(2) });
      log.push(`- ${what}`);
    };
    return { what, spec, heal, [Symbol.asyncDispose]: heal };
  };
  return { log, events, inflict, onEvent: (event: RehearsalEvent) => void events.push(event) };
}
const never = new AbortController().signal;

test("faults of different nodes overlap; each is told from its start to its healing", async () => {
  const { log, events, inflict, onEvent } = paper({ longest: "freeze of w1" }); // it would not heal if the other one waited for it
  await rehearse([freeze("w1", 0, 60), freeze("w2", 20, 10)], inflict, { signal: never, onEvent });
  expect(log).toEqual(["+ freeze of w1", "+ freeze of w2", "- freeze of w2", "- freeze of w1"]);
  expect(events.filter(({ what }) => what.endsWith("w1")).map(({ state }) => state)).toEqual([
    "starting",
    "in force",
    "healing",
    "healed",
  ]);
  const [first] = events.filter(({ what }) => what.endsWith("w2"));
  expect(first?.t).toBeGreaterThanOrEqual(19);
});

test("a node that heals more slowly than planned is not broken again before it is whole", async () => {
  const { log, inflict } = paper({ healing: 60 });
  await rehearse([freeze("w1", 0, 5), freeze("w1", 10, 5)], inflict, { signal: never });
  expect(log).toEqual(["+ freeze of w1", "- freeze of w1", "+ freeze of w1", "- freeze of w1"]);
});

test("an abort heals what is in force, begins nothing more, and is thrown", async () => {
  const { log, inflict, onEvent, events } = paper();
  const stop = new AbortController();
  const running = rehearse([freeze("w1", 0, 60_000), freeze("w2", 50_000, 10)], inflict, {
    signal: stop.signal,
    onEvent,
  });
  await until("it is in force", milliseconds(2_000), () => log.length > 0 || notYet(""), { every: milliseconds(2) });
  stop.abort(new Error("enough"));
  expect(running).rejects.toThrow("enough");
  await running.catch(() => {});
  expect(log).toEqual(["+ freeze of w1", "- freeze of w1"]);
  expect(events.map(({ state }) => state)).not.toContain("failed");
});

test("one that cannot be inflicted ends the rest, healed, and is the error", async () => {
  const { log, inflict, onEvent, events } = paper({ broken: "freeze of w2" });
  const schedule = [freeze("w1", 0, 60_000), freeze("w2", 10, 10), freeze("w1", 61_000, 10)];
  const running = rehearse(schedule, inflict, { signal: never, onEvent });
  expect(await running.catch((error: Error) => error.message)).toBe("freeze of w2 is not to be had");
  expect(log).toEqual(["+ freeze of w1", "- freeze of w1"]);
  expect(events.filter(({ state }) => state === "failed").map(({ what }) => what)).toEqual(["freeze of w2"]);
});
