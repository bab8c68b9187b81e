import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
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
