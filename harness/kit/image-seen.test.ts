import { expect, test } from "bun:test";
import { linkSync, mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { sha256Text } from "../supplies/store.ts";
import { seenOf, sha256Once } from "./image-seen.ts";

test("a file is hashed once, whoever links to it, and again when it was written or is another one", async () => {
  const dir = mkdtempSync(join(tmpdir(), "kpi-hash-"));
  const [file, kept] = [join(dir, "file"), join(dir, "kept.json")];
  try {
    writeFileSync(file, "one");
    expect(await sha256Once(file, kept)).toBe(sha256Text("one"));
    const { stamp } = await Bun.file(kept).json();
    writeFileSync(kept, JSON.stringify({ stamp, sha256: "as it was kept" }));
    linkSync(file, join(dir, "link"));
    expect(await sha256Once(file, kept)).toBe("as it was kept");
    writeFileSync(file, "two");
    expect(await sha256Once(file, kept)).toBe(sha256Text("two"));
    const { atime, mtime } = statSync(file);
    rmSync(file);
    writeFileSync(file, "six");
    utimesSync(file, atime, mtime);
    expect(await sha256Once(file, kept)).toBe(sha256Text("six"));
    writeFileSync(kept, '{"stamp":'); // spoilt
    expect(await sha256Once(file, kept)).toBe(sha256Text("six"));
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("what was seen of an image is not taken for what is in the one that was built in its place", () => {
  const image = (sha256: string) => seenOf({ key: "made-from-the-same", sha256: sha256.repeat(64) }, "inside");
  expect(image("a")).toBe(image("a"));
  expect(image("a")).not.toBe(image("b"));
});
