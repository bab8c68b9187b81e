import { linkSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** A process. Its start time (clock ticks since boot) tells it from a later one with the same pid. */
export interface Process {
  readonly pid: number;
  readonly start: number;
}

/** One that owns something on disk. */
export interface Owner extends Process {
  readonly command: string;
}

/** Start time of a process in clock ticks since boot (field 22 of proc(5) stat), or undefined when it is gone or a zombie. */
export function processStart(pid: number): number | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name in parentheses may hold anything, so count from its end: state is field 3.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return fields[0] === "Z" ? undefined : Number(fields[19]);
  } catch {
    return undefined;
  }
}

export const thisProcess = (): Process => ({ pid: process.pid, start: processStart(process.pid) ?? 0 });

/** This process, as an owner. */
export const thisOwner = (): Owner => ({ ...thisProcess(), command: process.argv.slice(2).join(" ") });

/** Whether it still runs: same pid and same start. */
export function isAlive(process: Process): boolean {
  return processStart(process.pid) === process.start;
}

/** A process as a name, `<pid>-<start>`: see {@link ownerNamed}. */
export const processName = ({ pid, start }: Process): string => `${pid}-${start}`;

/** A new name that says whose it is, `<pid>-<start>-<8 hex digits>`: a dead process's is told from a living one's. */
export const ownName = (): string => `${processName(thisProcess())}-${crypto.randomUUID().slice(0, 8)}`;

/** Whose such a name is, whatever stands behind pid and start; undefined when it does not begin with them. */
export function ownerNamed(name: string): Process | undefined {
  const [, pid, start] = /^(\d+)-(\d+)(?:-|$)/.exec(name) ?? [];
  return pid === undefined ? undefined : { pid: Number(pid), start: Number(start) };
}

/** A lock that this process holds, as a file naming its owner. A dead owner's lock counts as free. */
export interface FileLock extends Disposable {
  release(): void;
}

/** Takes the lock, or says who holds it or is about to. Atomic: the file appears whole, by hard link. Parent directories are made. */
export function tryLock(path: string): FileLock | { readonly heldBy: Owner } {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const owner = thisOwner();
  const mine = `${path}.${owner.pid}.${owner.start}`;
  writeFileSync(mine, JSON.stringify(owner), { mode: 0o600 });
  try {
    for (;;) {
      try {
        linkSync(mine, path);
        return held(path, owner);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
      const heldBy = liveOwner(path) ?? clear(path);
      if (heldBy !== undefined) return { heldBy };
    }
  } finally {
    rmSync(mine, { force: true });
  }
}

/** Released more than once, it leaves alone what somebody else has taken meanwhile. */
function held(path: string, { pid, start }: Owner): FileLock {
  const release = () => {
    const now = ownerIn(textOf(path));
    if (now?.pid === pid && now.start === start) rmSync(path, { force: true });
  };
  return { release, [Symbol.dispose]: release };
}

/**
 * Removes a dead owner's lock, or says who is doing that. One at a time, under a lock for this: a second one, that has looked before, would
 * remove what the first has taken meanwhile.
 */
function clear(path: string): Owner | undefined {
  const lock = tryLock(`${path}.clearing`);
  if ("heldBy" in lock) return lock.heldBy;
  using _ = lock;
  const text = textOf(path);
  const owner = ownerIn(text);
  if (text === undefined || (owner !== undefined && isAlive(owner))) return undefined;
  // Read again: while it was alive its owner may have released it. What names a dead one now stays until we remove it.
  if (textOf(path) === text) rmSync(path, { force: true });
  return undefined;
}

/** Undefined when there is none. One that may not be read is thrown: who goes on as if it were not there meets it again, without end. */
function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return undefined;
  }
}

/** The owner that the text of a lock or journal file names; undefined when there is none or it makes no sense. */
function ownerIn(text: string | undefined): Owner | undefined {
  try {
    const value = JSON.parse(text ?? "") as Partial<Owner>;
    if (typeof value.pid !== "number" || typeof value.start !== "number") return undefined;
    return { pid: value.pid, start: value.start, command: value.command ?? "" };
  } catch {
    return undefined;
  }
}

/** The owner that a lock or journal file names, if it still runs: who is at work there. Throws where the file may not be read. */
export function liveOwner(path: string): Owner | undefined {
  const owner = ownerIn(textOf(path));
  return owner !== undefined && isAlive(owner) ? owner : undefined;
}
