import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { start } from "./exec.ts";
import { isAlive, processStart, thisOwner, tryLock } from "./owner.ts";

const dir = mkdtempSync(join(tmpdir(), "owner-"));
afterAll(() => rmSync(dir, { recursive: true }));

test("this process is alive, a finished one is not", async () => {
  expect(isAlive(thisOwner())).toBe(true);
  const child = start("sleep", ["60"]);
  const owner = { pid: child.pid, start: processStart(child.pid) ?? -1, command: "" };
  expect(isAlive(owner)).toBe(true);
  await child.stop();
  expect(isAlive(owner)).toBe(false);
});

test("the same pid with another start is somebody else", () => {
  expect(isAlive({ ...thisOwner(), start: 1 })).toBe(false);
});

test("the second to take a lock is told who holds it", () => {
  const path = join(dir, "one.lock");
  const first = tryLock(path);
  expect(tryLock(path)).toMatchObject({ heldBy: { pid: process.pid } });
  if ("release" in first) first.release();
  expect(existsSync(path)).toBe(false);
});

test("a dead owner's lock, or a torn one, is free", () => {
  for (const [name, text] of [
    ["dead.lock", JSON.stringify({ pid: 2 ** 22 - 1, start: 1, command: "up" })],
    ["torn.lock", "{"],
  ] as const) {
    const path = join(dir, name);
    writeFileSync(path, text);
    expect("release" in tryLock(path)).toBe(true);
  }
});

const dead = JSON.stringify({ pid: 2 ** 22 - 1, start: 1, command: "up" });

test("a dead owner's lock is cleared away by one at a time, and whoever finds another at it touches nothing", () => {
  const path = join(dir, "contended.lock");
  writeFileSync(path, dead);
  writeFileSync(`${path}.clearing`, dead); // one that was killed while it did
  const clearing = tryLock(`${path}.clearing`);
  expect(tryLock(path)).toMatchObject({ heldBy: { pid: process.pid } });
  expect(readFileSync(path, "utf8")).toBe(dead);
  if ("release" in clearing) clearing.release();
  expect("release" in tryLock(path)).toBe(true);
  expect(existsSync(`${path}.clearing`)).toBe(false);
});

test("released a second time, a lock that somebody else has taken meanwhile stays theirs", () => {
  const path = join(dir, "twice.lock");
  const first = tryLock(path);
  writeFileSync(path, dead);
  if ("release" in first) first.release();
  expect(readFileSync(path, "utf8")).toBe(dead);
});

test("a lock that cannot be read is an error, and not asked for without end", () => {
  const path = join(dir, "unreadable.lock");
  mkdirSync(path); // root may read every file
  expect(() => tryLock(path)).toThrow("EISDIR");
});
