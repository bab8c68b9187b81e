import { afterAll, expect, test } from "bun:test";
import { closeSync, mkdtempSync, openSync, rmSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { damage } from "./checkpoint.ts";
import { digestFile } from "./checkpoint-digest.ts";

const dir = mkdtempSync(join(tmpdir(), "kpi-digest-"));
afterAll(() => rmSync(dir, { recursive: true }));
const path = join(dir, "file");
const signal = new AbortController().signal;
const size = 9 * 2 ** 20 + 7;

/** A sparse file of nine megabytes with something at both ends. */
function sparse(): void {
  writeFileSync(path, "begin");
  truncateSync(path, size);
  poke(size - 3, "end");
}

function poke(at: number, text: string): void {
  const file = openSync(path, "r+");
  writeSync(file, text, at);
  closeSync(file);
}

test("a flipped bit anywhere, also in a hole, is another digest; the same bytes without holes are the same", async () => {
  sparse();
  const whole = await digestFile(path);
  expect(whole).toMatch(/^xxh3:9437191:[0-9a-f]{64}$/);
  for (const at of [0, 5_000_000, size - 1]) {
    sparse();
    poke(at, "\u0001");
    expect(await digestFile(path)).not.toBe(whole);
  }
  sparse();
  poke(4 * 2 ** 20, "\0".repeat(4 * 2 ** 20));
  expect(await digestFile(path)).toBe(whole);
});

test("chunks that change places, and zeros at the end, are noticed", async () => {
  const chunk = 4 * 2 ** 20;
  writeFileSync(path, Buffer.concat([Buffer.alloc(chunk, "a"), Buffer.alloc(chunk, "b")]));
  const before = await digestFile(path);
  writeFileSync(path, Buffer.concat([Buffer.alloc(chunk, "b"), Buffer.alloc(chunk, "a")]));
  expect(await digestFile(path)).not.toBe(before);
  truncateSync(path, 3 * chunk);
  expect(await digestFile(path)).not.toBe(before);
});

test("damage names the first file that is gone or changed", async () => {
  sparse();
  const digests = { file: await digestFile(path) };
  expect(await damage(dir, digests, signal)).toBeUndefined();
  expect(await damage(dir, { ...digests, other: "x" }, signal)).toBe("other is missing");
  poke(1, "E");
  expect(await damage(dir, digests, signal)).toBe("file is not what was saved: its digest differs");
});
