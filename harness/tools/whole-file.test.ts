import { expect, test } from "bun:test";
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { scratch } from "./scratch.ts";
import { readSound, readWhole, writeWhole } from "./whole-file.ts";

test("a file is its owner's, and replaced as a whole: who has the old one open goes on reading that", () => {
  using at = scratch();
  const path = join(at.dir, "new", "file.json");
  expect(readWhole(path)).toBeUndefined();
  writeWhole(path, '{"old":true}');
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(statSync(join(at.dir, "new")).mode & 0o777).toBe(0o700);
  const open = openSync(path, "r");
  writeWhole(path, "[1]", 0o666);
  expect(readFileSync(open, "utf8")).toBe('{"old":true}');
  closeSync(open);
  expect(readWhole<number[]>(path)).toEqual([1]);
  expect(statSync(path).mode & 0o777).toBe(0o666);
  expect(readdirSync(join(at.dir, "new"))).toEqual(["file.json"]);
});

test("what cannot be written leaves what was there, and nothing beside it", () => {
  using at = scratch();
  mkdirSync(join(at.dir, "taken"));
  expect(() => writeWhole(join(at.dir, "taken"), "text")).toThrow("EISDIR");
  expect(readdirSync(at.dir)).toEqual(["taken"]);
});

test("what is spoilt is told, or taken as not there by who asks for what is sound", () => {
  using at = scratch();
  const path = join(at.dir, "file.json");
  expect(readSound(path)).toBeUndefined();
  writeWhole(path, '{"half":');
  expect(() => readWhole(path)).toThrow(`${path} cannot be read`);
  expect(readSound(path)).toBeUndefined();
  writeWhole(path, "null");
  expect(readSound(path)).toBeUndefined();
  writeWhole(path, "[1]");
  expect(readSound<number[]>(path)).toEqual([1]);
});
