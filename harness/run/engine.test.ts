import { describe, expect, test } from "bun:test";
import { orAborted } from "../core/deadline.ts";
import { milliseconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import type { RunEventBody, StageName } from "../core/event.ts";
import { runStages } from "./engine.ts";

const stage = (name: StageName, needs: StageName[] = [], deadline = 1_000) => ({
  name,
  needs,
  deadline: milliseconds(deadline),
});
const hang = (signal: AbortSignal) => orAborted(signal, new Promise<never>(() => {}));
const never = new AbortController().signal;

function recorder() {
  const events: RunEventBody[] = [];
  const outcomes = () =>
    Object.fromEntries(
      events.flatMap((event) =>
        event.type === "stage-ended"
          ? [[event.stage, event.why === undefined ? event.outcome : `${event.outcome} ${event.why}`]]
          : [],
      ),
    );
  return { emit: (event: RunEventBody) => void events.push(event), outcomes };
}

describe("runStages", () => {
  test("a hang guard is stretched with the budget, by a factor that is only known once stages run", async () => {
    const { emit, outcomes } = recorder();
    let factor = 1;
    const slow = { ...stage("boot", ["doctor"], 5), budget: milliseconds(5) };
    const work = (signal: AbortSignal) =>
      orAborted(signal, new Promise<void>((resolve) => void Bun.sleep(60).then(resolve)));
    const table = { doctor: async () => void (factor = 50), boot: work };
    await runStages([stage("doctor"), slow], table, emit, never, () => factor);
    expect(outcomes()).toEqual({ doctor: "passed", boot: "passed" });
    const bare = recorder();
    await runStages([slow], { boot: work }, bare.emit, never).catch(() => {});
    expect(bare.outcomes()).toEqual({ boot: "failed" });
  });

  test("runs each stage after those it needs, independent ones side by side", async () => {
    const order: string[] = [];
    const both = Promise.withResolvers<void>();
    const { emit, outcomes } = recorder();
    let arrived = 0;
    const meet = (name: string) => async () => {
      order.push(name);
      if (++arrived === 2) both.resolve();
      await both.promise;
    };
    await runStages(
      [
        stage("doctor"),
        stage("supplies", ["doctor"]),
        stage("image", ["doctor"]),
        stage("apply", ["supplies", "image"]),
      ],
      {
        doctor: async () => order.push("doctor"),
        supplies: meet("supplies"),
        image: meet("image"),
        apply: async () => order.push("apply"),
      },
      emit,
      never,
    );
    expect(order).toEqual(["doctor", "supplies", "image", "apply"]);
    expect(outcomes()).toEqual({ doctor: "passed", supplies: "passed", image: "passed", apply: "passed" });
  });

  test("the first failure is thrown with its stage; who needs it and who runs beside it are blocked by name", async () => {
    const { emit, outcomes } = recorder();
    const failing = runStages(
      [stage("doctor"), stage("apply"), stage("boot", ["doctor"])],
      {
        doctor: async () => {
          throw new KpiError("host", "no memory", { hint: "buy some" });
        },
        apply: hang,
        boot: async () => {},
      },
      emit,
      never,
    );
    expect(await failing.catch((error: KpiError) => error)).toMatchObject({
      kind: "host",
      what: "doctor: no memory",
      hint: "buy some",
    });
    expect(outcomes()).toEqual({ doctor: "failed", apply: "blocked by doctor", boot: "blocked by doctor" });
  });

  test("a stage that hangs fails at its deadline", async () => {
    const { emit } = recorder();
    const error = await runStages([stage("boot", [], 20)], { boot: hang }, emit, never).catch(
      (caught: KpiError) => caught,
    );
    expect(error).toMatchObject({ kind: "deadline", what: "boot: not finished in time" });
  });

  test("a stage that was told to end has ended before the run has, whatever it has to finish", async () => {
    const stop = new AbortController();
    const { promise: finished, resolve: finish } = Promise.withResolvers<void>();
    const order: string[] = [];
    const apply = async (signal: AbortSignal) => {
      await hang(signal).catch(() => {});
      await finished;
      order.push("apply");
    };
    const running = runStages([stage("apply")], { apply }, () => {}, stop.signal).catch(() => order.push("run"));
    stop.abort(new KpiError("interrupted", "stopped"));
    await Bun.sleep(10);
    finish();
    await running;
    expect(order).toEqual(["apply", "run"]);
  });

  test("an interrupt ends every stage and is thrown as it is", async () => {
    const stop = new AbortController();
    const { emit, outcomes } = recorder();
    const running = runStages(
      [stage("boot"), stage("ready", ["boot"])],
      { boot: hang, ready: hang },
      emit,
      stop.signal,
    );
    stop.abort(new KpiError("interrupted", "stopped"));
    expect(await running.catch((error: KpiError) => error)).toMatchObject({ kind: "interrupted" });
    expect(outcomes()).toEqual({ boot: "blocked interrupted", ready: "blocked by boot" });
  });
});
