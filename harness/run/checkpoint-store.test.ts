import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkpointKey, inputChanges } from "./checkpoint-key.ts";
import * as store from "./checkpoint-store.ts";
import type { Manifest } from "./checkpoint-store.ts";

const cache = mkdtempSync(join(tmpdir(), "kpi-store-"));
afterAll(() => rmSync(cache, { recursive: true }));

/** A finished checkpoint of so many bytes, as far as the store is concerned. */
function make(id: string, over: Partial<Manifest> = {}): string {
  const staging = store.stagingDir(cache);
  const manifest = { id, key: id, madeAt: "2026-01-01T00:00:00Z", size: 10, cluster: "kpi", ...over };
  store.writeManifest(staging, manifest as Manifest);
  const dir = join(store.checkpointsDir(cache), id);
  renameSync(staging, dir);
  return dir;
}
const ids = () => store.listCheckpoints(cache).map(({ manifest }) => manifest.id);

describe("the key", () => {
  const inputs = { plan: "a".repeat(64), qemu: "10.0.2" };
  test("is made of every input, in any order", () => {
    expect(checkpointKey({ qemu: "10.0.2", plan: "a".repeat(64) })).toBe(checkpointKey(inputs));
    expect(checkpointKey({ ...inputs, qemu: "10.0.3" })).not.toBe(checkpointKey(inputs));
    expect(checkpointKey({ ...inputs, more: "" })).not.toBe(checkpointKey(inputs));
  });
  test("why says which input differs", () => {
    expect(inputChanges(inputs, inputs)).toEqual([]);
    expect(inputChanges(inputs, { plan: "b".repeat(64), format: "2" })).toEqual([
      "format is new",
      "plan was aaaaaaaaaaaa, is bbbbbbbbbbbb",
      "qemu is gone",
    ]);
  });
});

describe("eviction", () => {
  const each = (id: string, lastUsed: number, inUse = false) => ({ id, lastUsed, inUse, size: 10 });
  test("the longest unused goes first, and no more than needed", () => {
    expect(store.toEvict([each("new", 3), each("old", 1), each("mid", 2)], 25)).toEqual(["old"]);
    expect(store.toEvict([each("new", 3), each("old", 1), each("mid", 2)], 30)).toEqual([]);
  });
  test("never one in use, even when room stays short", () => {
    expect(store.toEvict([each("old", 1, true), each("new", 2)], 0)).toEqual(["new"]);
  });
});

describe("the store", () => {
  test("a checkpoint counts once it is in place, with the manifest that was written", () => {
    const staging = store.stagingDir(cache);
    expect(ids()).toEqual([]);
    rmSync(staging, { recursive: true });
    const dir = make("whole");
    expect(ids()).toEqual(["whole"]);
    const text = readFileSync(join(dir, "manifest.json"), "utf8");
    writeFileSync(join(dir, "manifest.json"), text.replace('"size": 10', '"size": 11'));
    const bad: string[] = [];
    expect(store.listCheckpoints(cache, (why) => bad.push(why))).toEqual([]);
    expect(bad[0]).toContain("its manifest is not what was saved");
    rmSync(dir, { recursive: true });
  });

  test("one that somebody uses stays; a newer one of the same key replaces the others", () => {
    const used = make("used", { key: "k", madeAt: "2026-01-01T00:00:00Z" });
    const dead = { pid: process.pid, start: 1, command: "a dead one" };
    const stale = store.refer(used, "kpi-f0", dead);
    const ref = store.refer(used, "kpi-f1");
    expect(existsSync(stale), "what dead ones have left").toBe(false);
    make("older", { key: "k", madeAt: "2026-01-02T00:00:00Z" });
    make("newest", { key: "k", madeAt: "2026-01-03T00:00:00Z" });
    expect(store.users(used)).toEqual(["kpi-f1"]);
    expect(store.evict(cache, 100).map(({ manifest }) => manifest.id)).toEqual(["older"]);
    expect(ids()).toEqual(["newest", "used"]);
    rmSync(ref);
    store.refer(used, "kpi-f0", dead);
    expect(store.users(used)).toEqual([]);
    store.evict(cache, 0);
    expect(ids()).toEqual([]);
  });

  test("the one that has just been made stays and replaces the others, also where the clock was set back meanwhile", () => {
    make("before", { key: "k", madeAt: "2026-01-02T00:00:00Z" });
    make("made", { key: "k", madeAt: "2026-01-01T00:00:00Z" });
    expect(store.evict(cache, 100, "made").map(({ manifest }) => manifest.id)).toEqual(["before"]);
    expect(ids()).toEqual(["made"]);
    store.evict(cache, 0);
  });

  test("what a dead process was making or removing is stale, what a living one is making is not", () => {
    const mine = store.stagingDir(cache);
    const dead = join(store.checkpointsDir(cache), ".gone-1-1-aaaa");
    mkdirSync(dead);
    expect(store.staleCheckpoints(cache)).toEqual([dead]);
    expect(existsSync(mine)).toBe(true);
  });

  test.each([
    ["12GiB", 12 * 2 ** 30],
    ["0", 0],
    ["", 12 * 2 ** 30],
  ])("room %p", (text, bytes) => expect(store.checkpointSpace({ KPI_CHECKPOINT_SPACE: text })).toBe(bytes));
  test("room that is no size is refused", () => {
    expect(() => store.checkpointSpace({ KPI_CHECKPOINT_SPACE: "12" })).toThrow("KPI_CHECKPOINT_SPACE is no size");
  });
});
