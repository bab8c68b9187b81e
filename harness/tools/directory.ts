import { existsSync, readdirSync, readFileSync, realpathSync } from "node:fs";
import { join, relative } from "node:path";
import { isAlive, ownerNamed, ownName } from "./owner.ts";

/** The names in a directory, sorted; none when it is not there or is no directory. */
export function entries(dir: string): string[] {
  try {
    return readdirSync(dir).sort();
  } catch {
    return [];
  }
}

/** All files below a directory, by their path in it, sorted; none when it is not there. */
export function filesBelow(dir: string): string[] {
  if (!existsSync(dir)) return [];
  return [...new Bun.Glob("**/*").scanSync({ cwd: dir, dot: true, onlyFiles: true })].sort();
}

/** A path as the kernel's lists of mounts write it, in which a space is `\040` (proc(5)), as it is. */
export const mountPath = (written: string): string =>
  written.replace(/\\([0-7]{3})/g, (_, code: string) => String.fromCharCode(Number.parseInt(code, 8)));

/**
 * Whether programs that lie in a directory may be run, as its mount says (`noexec`, proc(5): a line is `DEVICE POINT TYPE OPTIONS ...`, a later
 * one covers an earlier one).
 */
export function mayRunPrograms(dir: string, mounts = readFileSync("/proc/self/mounts", "utf8")): boolean {
  const path = realpathSync(dir);
  const covering = mounts.split("\n").flatMap((line) => {
    const [, point = "", , options = ""] = line.split(" ");
    const from = mountPath(point);
    return point === "" || relative(from, path).startsWith("..") ? [] : [{ length: from.length, options }];
  });
  const nearest = covering.reduce((best, each) => (each.length >= best.length ? each : best), {
    length: 0,
    options: "",
  });
  return !nearest.options.split(",").includes("noexec");
}

/** A new hidden name for what this process is making in a directory (`staging`) or removing from it (`gone`); it says whose it is. */
export const hiddenName = (state: "staging" | "gone"): string => `.${state}-${ownName()}`;

/** What a dead process was making in the directory or removing from it, as paths. Whoever gets them may remove them. */
export function abandoned(dir: string): string[] {
  return entries(dir).flatMap((name) => {
    const [, own = ""] = /^\.(?:staging|gone)-(.+)$/.exec(name) ?? [];
    const owner = ownerNamed(own);
    return owner === undefined || isAlive(owner) ? [] : [join(dir, name)];
  });
}
