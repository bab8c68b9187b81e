import { describe, expect, test } from "bun:test";
import type { KpiError } from "../core/errors.ts";
import type { RunEventBody } from "../core/event.ts";
import { NodeWatch } from "./nodes.ts";

const line = (step: string, ok: boolean, detail: string) =>
  `KPI-VERDICT ${JSON.stringify({ kpi: 1, node: "n1", step, ok, detail, wall: 1, mono: 2 })}`;
const setUp = () => {
  const events: RunEventBody[] = [];
  return {
    events,
    watch: new NodeWatch(
      ["n1"],
      (event) => events.push(event),
      (node) => `consoles/${node}.log`,
    ),
  };
};
const never = new AbortController().signal;

describe("NodeWatch", () => {
  test("a step's verdict wakes who waits for it, and is there for who comes later", async () => {
    const { watch } = setUp();
    const waiting = watch.step("n1", "dns", never);
    watch.line("n1", line("dns", true, "answered"));
    expect((await waiting).detail).toBe("answered");
    expect((await watch.step("n1", "dns", never)).mono).toBe(2);
  });

  test("a later step's verdict counts for one whose line was lost, an earlier one does not", async () => {
    const { watch } = setUp();
    const waiting = watch.step("n1", "service", never);
    watch.line("n1", line("dns", true, "answered"));
    watch.line("n1", line("ready", true, "n1 is Ready"));
    expect((await waiting).step).toBe("ready");
    expect((await watch.step("n1", "dns", never)).step).toBe("dns");
  });

  test("a refusal at any step ends every wait, naming node, step and cause", async () => {
    const { watch } = setUp();
    const waiting = watch.step("n1", "service", never).catch((error: KpiError) => error);
    watch.line("n1", line("dns", false, "192.168.122.9 does not answer for artifacts.kpi.test"));
    expect(await waiting).toMatchObject({
      kind: "claim",
      what: "n1: dns: 192.168.122.9 does not answer for artifacts.kpi.test",
      evidence: ["consoles/n1.log"],
    });
  });

  test("a lost domain ends every wait", async () => {
    const { watch } = setUp();
    const waiting = watch.step("n1", "ready", never).catch((error: KpiError) => error);
    watch.lost("n1", "paused: no space left on the host", "free some space");
    expect(await waiting).toMatchObject({
      kind: "host",
      what: "n1: paused: no space left on the host",
      hint: "free some space",
    });
  });

  test("an abort ends a wait with its reason", async () => {
    const { watch } = setUp();
    const stop = new AbortController();
    const waiting = watch.step("n1", "dns", stop.signal).catch((error: Error) => error);
    stop.abort(new Error("enough"));
    expect(await waiting).toMatchObject({ message: "enough" });
  });
});
