import { expect, test } from "bun:test";
import { mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256Text } from "../supplies/store.ts";
import { sha256Once } from "./image-seen.ts";

test("a file is hashed once, and again when it has changed, whatever its size and time say", async () => {
  const dir = mkdtempSync(join(tmpdir(), "kpi-hash-"));
  const [file, kept] = [join(dir, "file"), join(dir, "kept.json")];
  try {
    writeFileSync(file, "one");
    expect(await sha256Once(file, kept)).toBe(sha256Text("one"));
    const { stamp } = await Bun.file(kept).json();
    writeFileSync(kept, JSON.stringify({ stamp, sha256: "as it was kept" }));
    expect(await sha256Once(file, kept)).toBe("as it was kept");
    const { atime, mtime } = statSync(file);
    writeFileSync(file, "two");
    utimesSync(file, atime, mtime);
    expect(await sha256Once(file, kept)).toBe(sha256Text("two"));
  } finally {
    rmSync(dir, { recursive: true });
  }
});
