import { afterAll, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Access } from "./access.ts";
import { type FaultWay, faultsInForce, inflict } from "./fault.ts";
import { declared } from "./journal.ts";
import { reap } from "./reap.ts";

const dir = mkdtempSync(join(tmpdir(), "faults-"));
afterAll(() => rmSync(dir, { recursive: true }));
let state = "";
beforeEach(() => (state = mkdtempSync(join(dir, "state-"))));

/** As much of a cluster as a fault's handle needs. */
const access = (lab: unknown = {}) =>
  ({
    lab,
    uri: "qemu:///system",
    plan: { cluster: "c" },
    cluster: { name: "c", stateDir: state },
  }) as unknown as Access;
const spec = { kind: "freeze", node: "w1" } as const;
const log: string[] = [];
beforeEach(() => void log.splice(0));
const way = (change: Partial<FaultWay<"freeze">> = {}): FaultWay<"freeze"> => ({
  inflict: async () => void log.push(`inflict, journal ${declared(state).length}`),
  undo: async () => void log.push("undo"),
  settle: async () => void log.push(`settle, journal ${declared(state).length}`),
  ...change,
});

test("in the journal before it is there, out of it when its cause is gone; healed once, whoever asks", async () => {
  {
    await using fault = await inflict(way(), access(), spec);
    expect(faultsInForce()).toEqual(["freeze of w1"]);
    expect([faultsInForce("c"), faultsInForce("c-f1")]).toEqual([["freeze of w1"], []]);
    expect(declared(state)[0]?.intent).toMatchObject({ kind: "fault", cluster: "c", fault: spec });
    await Promise.all([fault.heal(), fault.heal()]);
  }
  expect(log).toEqual(["inflict, journal 1", "undo", "settle, journal 0"]);
  expect(faultsInForce()).toEqual([]);
});

test("one that cannot be brought into force is undone, and its own error thrown", async () => {
  const failing = way({ inflict: () => Promise.reject(new Error("no such thing")) });
  expect(inflict(failing, access(), spec)).rejects.toThrow("no such thing");
  await inflict(failing, access(), spec).catch(() => {});
  expect(log).toContain("undo");
  expect(declared(state)).toEqual([]);
  expect(faultsInForce()).toEqual([]);
});

test("what cannot be undone stays in the journal, and is tried again", async () => {
  let stuck = true;
  const undo = async () => {
    if (stuck) throw new Error("stuck");
  };
  const fault = await inflict(way({ undo }), access(), spec);
  expect(await fault.heal().catch((error: Error) => error.message)).toBe("stuck");
  expect(declared(state)).toHaveLength(1);
  stuck = false;
  await fault.heal();
  expect(declared(state)).toEqual([]);
});

test("refused before anything is written: on a host's own libvirt, where it is in force already, after an abort", async () => {
  const host = { ...access(), lab: undefined } as unknown as Access;
  expect(await inflict(way(), host, spec).catch((error: Error) => error.message)).toContain("faults are for labs");
  const already = way({ check: () => Promise.reject(new Error("already")) });
  expect(await inflict(already, access(), spec).catch((error: Error) => error.message)).toBe("already");
  const aborted = AbortSignal.abort(new Error("enough"));
  expect(await inflict(way(), access(), spec, aborted).catch((error: Error) => error.message)).toBe("enough");
  expect(log.filter((line) => line.startsWith("inflict"))).toEqual([]);
  expect(declared(state)).toEqual([]);
});

test("reap forgets a dead process's fault of a cluster that is gone, and leaves a living one's alone", async () => {
  const journal = join(state, "journal");
  mkdirSync(journal);
  const entry = (pid: number, start: number) => {
    const id = `${pid}-${start}-x`;
    const intent = { kind: "fault", cluster: "gone", id: "abc", fault: spec };
    const owner = { pid, start, command: "fault" };
    writeFileSync(join(journal, `${id}.json`), JSON.stringify({ id, at: "", owner, intent }));
    return `${id}.json`;
  };
  entry(process.pid, 1); // the pid lives, its start does not
  const living = await inflict(way(), access(), spec);
  expect((await reap({ cache: join(dir, "cache"), state })).removed).toEqual([]);
  expect(readdirSync(journal)).toHaveLength(1);
  expect(declared(state)[0]?.intent).toMatchObject({ cluster: "c" });
  await living.heal();
});
