import { expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StoredCheckpoint } from "./checkpoint-store.ts";
import { Checkpoint } from "./running.ts";

test.each(["My_Fork", "../../x", "", "a/b", "-a", "a".repeat(41)])(
  "no lab can be called %p: a fork is refused before anything of it is written",
  async (as) => {
    const dir = mkdtempSync(join(tmpdir(), "running-"));
    try {
      const checkpoint = new Checkpoint({} as StoredCheckpoint, {
        cache: join(dir, "cache"),
        state: join(dir, "a", "state"),
      });
      expect(await checkpoint.fork({ as }).catch((error: unknown) => error)).toMatchObject({ kind: "spec" });
      expect([existsSync(join(dir, "x")), readdirSync(dir)]).toEqual([false, []]);
    } finally {
      rmSync(dir, { recursive: true, force: true });
    }
  },
);

test.each(["one", undefined])("where no lab can be, no fork is begun (as %p)", async (as) => {
  const dir = mkdtempSync(join(tmpdir(), "running-"));
  try {
    const stored = { manifest: { plan: { cluster: "kpi" } } } as unknown as StoredCheckpoint;
    const checkpoint = new Checkpoint(stored, { cache: join(dir, "cache"), state: join(dir, "s".repeat(100)) });
    const refused = await checkpoint.fork(as === undefined ? {} : { as }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ kind: "host", what: expect.stringContaining("the path of its libvirt socket is") });
    expect(readdirSync(dir)).toEqual([]);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});
