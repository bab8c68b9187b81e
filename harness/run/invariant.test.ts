import { expect, test } from "bun:test";
import { milliseconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { until, notYet } from "../core/deadline.ts";
import { during, type Invariant } from "./invariant.ts";

const every = milliseconds(5);
/** An invariant that a test breaks and mends, and that counts how often it was looked at. */
function switchable() {
  const it = {
    fine: true,
    looks: 0,
    what: "the lamp is on",
    check() {
      it.looks += 1;
      if (!it.fine) throw new KpiError("claim", "the lamp is off");
    },
  };
  return it;
}
const looked = (lamp: { looks: number }, times = 2) => {
  const wanted = lamp.looks + times;
  return until("it is looked at", milliseconds(5_000), () => lamp.looks >= wanted || notYet("not yet"), { every });
};
const failure = async (work: Promise<unknown>): Promise<KpiError> => {
  const error = await work.then(
    () => new Error("it did not fail"),
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(KpiError);
  return error as KpiError;
};

test("one that holds: the work's value, and how closely it was looked at", async () => {
  const lamp = switchable();
  const { value, checks, longestGap } = await during(lamp, async () => (await looked(lamp, 5), "done"), { every });
  expect(value).toBe("done");
  expect(checks).toBeGreaterThanOrEqual(6);
  expect(longestGap).toBeLessThan(1_000);
});

test("one that breaks: when first, during which steps, and when it held again; the work goes on to its end", async () => {
  const lamp = switchable();
  let ended = false;
  const error = await failure(
    during(
      lamp,
      async (step) => {
        await step("warm up", () => looked(lamp));
        await step("outer", () =>
          step("cut", async () => {
            lamp.fine = false;
            await looked(lamp);
          }),
        );
        await step("repair", async () => {
          await looked(lamp);
          lamp.fine = true;
          await looked(lamp);
        });
        ended = true;
      },
      { every },
    ),
  );
  expect(ended).toBe(true);
  expect(error.kind).toBe("claim");
  expect(error.what).toBe("did not hold throughout: the lamp is on");
  const [when, doing, seen, again] = error.details;
  expect(when).toMatch(/^the lamp is on: first broke \d+ms after the start, at check \d+$/);
  expect(doing).toBe("being done: outer; cut");
  expect(seen).toBe("seen: the lamp is off");
  expect(again).toMatch(/^held again after \d+ms$/);
});

test("one that breaks with the last thing done is still seen, by the look after the end", async () => {
  const lamp = switchable();
  const error = await failure(during(lamp, async () => void (lamp.fine = false), { every: milliseconds(60_000) }));
  expect(error.details.at(-1)).toBe("it did not hold again");
});

test("one that does not hold before: the work is not begun", async () => {
  const lamp = switchable();
  lamp.fine = false;
  let begun = false;
  const error = await failure(during(lamp, async () => void (begun = true), { every }));
  expect(error.what).toContain("before anything was done");
  expect(begun).toBe(false);
});

test("a check that hangs has failed", async () => {
  let hangs = false;
  const sleepy: Invariant = {
    what: "it answers",
    check: () => (hangs ? Promise.withResolvers<void>().promise : undefined),
  };
  const work = async () => {
    hangs = true;
    await until("the time passes", milliseconds(2_000), () => performance.now() > from + 60 || notYet(""), { every });
  };
  const from = performance.now();
  const error = await failure(during(sleepy, work, { every, limit: milliseconds(10) }));
  expect(error.details.join("\n")).toContain("the check took longer than 10ms");
});

test("the work's own error goes first, and tells of the break before it", async () => {
  const lamp = switchable();
  const error = await failure(
    during(
      lamp,
      async () => {
        lamp.fine = false;
        await looked(lamp);
        throw new KpiError("host", "the node does not boot");
      },
      { every },
    ),
  );
  expect(error.what).toBe("the node does not boot");
  expect(error.details.join("\n")).toContain("the lamp is on: first broke");
});
