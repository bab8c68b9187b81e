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
