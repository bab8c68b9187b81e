import { expect, test } from "bun:test";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { abandoned, entries, filesBelow, hiddenName, mayRunPrograms } from "./directory.ts";
import { scratch } from "./scratch.ts";

test("names are sorted, and there are none where there is no directory", () => {
  using at = scratch();
  for (const name of ["b", "a", ".c"]) writeFileSync(join(at.dir, name), "");
  mkdirSync(join(at.dir, "d"));
  writeFileSync(join(at.dir, "d", "e"), "");
  expect(entries(at.dir)).toEqual([".c", "a", "b", "d"]);
  expect(filesBelow(at.dir)).toEqual([".c", "a", "b", "d/e"]);
  for (const none of [join(at.dir, "none"), join(at.dir, "a")]) expect(entries(none)).toEqual([]);
  expect(filesBelow(join(at.dir, "none"))).toEqual([]);
});

test("what a dead process was making or removing is abandoned; a living one's, and a later one's with its pid, is told apart", () => {
  using at = scratch();
  const mine = [hiddenName("staging"), hiddenName("gone"), hiddenName("staging")];
  const [, pid = "", start = ""] = /^\.staging-(\d+)-(\d+)-[0-9a-f]{8}$/.exec(mine[0] ?? "") ?? [];
  const dead = [`.gone-${pid}-${Number(start) - 1}-aaaaaaaa`, ".staging-4194303-1-bbbbbbbb", ".staging-4194303-2"];
  for (const name of [...mine, ...dead, "finished", ".lock", ".staging", ".other-1-1-cccccccc"])
    mkdirSync(join(at.dir, name));
  expect(new Set(mine).size).toBe(3);
  expect(pid).toBe(String(process.pid));
  expect(abandoned(at.dir)).toEqual(dead.map((name) => join(at.dir, name)));
});

test("programs run where the nearest mount allows it, whatever lies above or beside it", () => {
  const mounts = (...lines: string[]) => lines.map((line) => `none ${line} 0 0`).join("\n");
  using at = scratch();
  const dir = join(at.dir, "with space");
  mkdirSync(dir);
  const point = dir.replaceAll(" ", "\\040");
  expect(mayRunPrograms(dir, mounts("/ ext4 rw,relatime"))).toBe(true);
  expect(mayRunPrograms(dir, mounts("/ ext4 rw", `${at.dir} tmpfs rw,noexec`))).toBe(false);
  expect(mayRunPrograms(dir, mounts(`${at.dir} tmpfs rw,noexec`, `${point} tmpfs rw`))).toBe(true);
  expect(mayRunPrograms(dir, mounts("/ ext4 rw", `${dir.slice(0, -2)} tmpfs noexec`))).toBe(true);
  expect(mayRunPrograms(dir, mounts(`${point} tmpfs rw`, `${point} tmpfs rw,noexec`))).toBe(false);
});
