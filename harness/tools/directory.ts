import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { isAlive, thisOwner } from "./owner.ts";

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

/**
 * A new hidden name for what this process is making in a directory (`staging`) or removing from it (`gone`). Who it belongs to
 * stands in it, `.<state>-<pid>-<start>-<8 hex digits>`, so that a dead process's is told from a live one's.
 */
export function ownName(state: "staging" | "gone"): string {
  const { pid, start } = thisOwner();
  return `.${state}-${pid}-${start}-${crypto.randomUUID().slice(0, 8)}`;
}

/** What a dead process was making in the directory or removing from it, as paths. Whoever gets them may remove them. */
export function abandoned(dir: string): string[] {
  return entries(dir).flatMap((name) => {
    const [, pid, start] = /^\.(?:staging|gone)-(\d+)-(\d+)-/.exec(name) ?? [];
    const dead = pid !== undefined && !isAlive({ pid: Number(pid), start: Number(start) });
    return dead ? [join(dir, name)] : [];
  });
}
