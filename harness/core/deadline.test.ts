import { describe, expect, test } from "bun:test";
import { elapse, notYet, until } from "./deadline.ts";
import { milliseconds } from "./duration.ts";
import { KpiError } from "./errors.ts";

const failure = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error as KpiError,
  );

describe("until", () => {
  test("attempts at once and gives the value", async () => {
    expect(await until("x", milliseconds(1_000), () => 42)).toBe(42);
  });

  test("retries what is not yet there", async () => {
    let tries = 0;
    const value = await until("x", milliseconds(1_000), () => (++tries < 3 ? notYet("no") : tries), {
      every: milliseconds(1),
    });
    expect(value).toBe(3);
  });

  test("any other error ends it at once", async () => {
    let tries = 0;
    const error = await failure(
      until("x", milliseconds(1_000), () => {
        tries += 1;
        throw new KpiError("host", "hopeless");
      }),
    );
    expect(error?.what).toBe("hopeless");
    expect(tries).toBe(1);
  });

  test("a timeout says what, how long, how often and what was last seen", async () => {
    const error = await failure(
      until("the door opens", milliseconds(30), () => notYet("still shut"), { every: milliseconds(5), hint: "knock" }),
    );
    expect(error).toMatchObject({ kind: "deadline", what: "the door opens", hint: "knock" });
    expect(error?.details[0]).toMatch(/^waited \d+ms, \d+ attempts; last saw: still shut$/);
  });

  test("an attempt that hangs is ended by the deadline too", async () => {
    const error = await failure(until("x", milliseconds(30), () => new Promise(() => {})));
    expect(error?.kind).toBe("deadline");
  });

  test("an abort ends it with the abort's reason", async () => {
    const stop = new AbortController();
    const work = failure(until("x", milliseconds(5_000), () => notYet("no"), { signal: stop.signal }));
    stop.abort(new KpiError("interrupted", "stopped"));
    expect((await work)?.what).toBe("stopped");
  });
});

test("what takes longer than a timer can is waited for all the same", async () => {
  const stop = new AbortController();
  const weeks = milliseconds(600 * 3_600_000);
  const over = async (work: Promise<unknown>) => (await work, "over");
  const long = over(elapse(weeks, stop.signal));
  const awaited = over(until("x", weeks, () => new Promise(() => {}), { signal: stop.signal }));
  const short = elapse(milliseconds(50), stop.signal).then(() => "not yet");
  expect(await Promise.race([long, awaited, short])).toBe("not yet");
  stop.abort(new KpiError("interrupted", "stopped"));
  expect([(await failure(long))?.what, (await failure(awaited))?.what]).toEqual(["stopped", "stopped"]);
});
