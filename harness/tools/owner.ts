import { linkSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
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

/** Takes the lock, or says who holds it. Atomic: the file appears whole, by hard link. Parent directories are made. */
export function tryLock(path: string): FileLock | { readonly heldBy: Owner } {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const owner = thisOwner();
  const mine = `${path}.${owner.pid}.${owner.start}`;
  writeFileSync(mine, JSON.stringify(owner), { mode: 0o600 });
  try {
    for (;;) {
      try {
        linkSync(mine, path);
        const release = () => rmSync(path, { force: true });
        return { release, [Symbol.dispose]: release };
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      }
      const heldBy = liveOwner(path);
      if (heldBy !== undefined) return { heldBy };
      setAside(path, `${mine}.stale`);
    }
  } finally {
    rmSync(mine, { force: true });
  }
}

/** Removes a dead owner's lock; puts it back if another process took it over between the look and the removal. */
function setAside(path: string, aside: string): void {
  try {
    renameSync(path, aside);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return;
    throw error;
  }
  if (liveOwner(aside) !== undefined) linkSync(aside, path);
  rmSync(aside, { force: true });
}

/** Reads the owner that a lock or journal file names; undefined when there is none or it makes no sense. */
function readOwner(path: string): Owner | undefined {
  try {
    const value = JSON.parse(readFileSync(path, "utf8")) as Partial<Owner>;
    if (typeof value.pid !== "number" || typeof value.start !== "number") return undefined;
    return { pid: value.pid, start: value.start, command: value.command ?? "" };
  } catch {
    return undefined;
  }
}

/** The owner that a lock or journal file names, if it still runs: who is at work there. */
export function liveOwner(path: string): Owner | undefined {
  const owner = readOwner(path);
  return owner !== undefined && isAlive(owner) ? owner : undefined;
}
