import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { processStart } from "../tools/owner.ts";

/** A lab's init, as seen from the host. A pid alone proves nothing: start time and namespaces tell it from a later process. */
export interface LabIdentity {
  readonly pid: number;
  /** Clock ticks since boot. */
  readonly start: number;
  /** What the links in /proc/PID/ns say, for instance `net:[4026532177]`. */
  readonly namespaces: { readonly pid: string; readonly mnt: string; readonly net: string };
}

/** The word in the process list that names a lab. init.sh gets it as its first argument. */
export const labMarker = (dir: string): string => `kpi-lab:${dir}`;
const markerStart = labMarker("");

/** A process whose arguments name a lab: the launcher, unshare, or the init itself. */
export interface LabProcess {
  readonly pid: number;
  readonly dir: string;
}

/** Every launcher and init of labs that runs on this machine as this user, whatever is left of its files. */
export function labProcesses(): LabProcess[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      const words = readFileSync(`/proc/${name}/cmdline`, "utf8").split("\0");
      const dir = labOf(words);
      return dir !== undefined && statSync(`/proc/${name}`).uid === process.getuid?.()
        ? [{ pid: Number(name), dir }]
        : [];
    } catch {
      return []; // gone while we looked
    }
  });
}

/** The lab that a command line belongs to: our script by its absolute path, directly followed by the marker. */
export function labOf(words: readonly string[]): string | undefined {
  const script = words.findIndex((word) => /^\/.*\/harness\/lab\/init\.sh$/.test(word));
  const marker = script < 0 ? undefined : words[script + 1];
  return marker?.startsWith(markerStart) === true ? marker.slice(markerStart.length) : undefined;
}

/** The init of a lab: the one of its processes that is PID 1 of a PID namespace other than ours. Undefined while there is none. */
export function findInit(dir: string): LabIdentity | undefined {
  return labProcesses()
    .filter((found) => found.dir === dir)
    .map(({ pid }) => identify(pid))
    .find((identity) => identity !== undefined && identity.namespaces.pid !== ours() && isInit(identity.pid));
}

/** Takes a process's identity; undefined when it is gone. */
export function identify(pid: number): LabIdentity | undefined {
  const start = processStart(pid);
  if (start === undefined) return undefined;
  try {
    const namespace = (kind: string) => readlinkSync(`/proc/${pid}/ns/${kind}`);
    return { pid, start, namespaces: { pid: namespace("pid"), mnt: namespace("mnt"), net: namespace("net") } };
  } catch {
    return undefined;
  }
}

/** Whether exactly this process still runs. */
export function isSame(identity: LabIdentity): boolean {
  return Bun.deepEquals(identify(identity.pid), identity);
}

const kinds = ["pid", "mnt", "net"] as const;

/** All processes in the lab's namespaces, seen from the host. Empty once the kernel has cleaned up. Never one of our own namespaces. */
export function processesIn({ namespaces }: LabIdentity): number[] {
  const own = identify(process.pid)?.namespaces;
  const its = kinds.filter((kind) => own !== undefined && own[kind] !== namespaces[kind]);
  return readdirSync("/proc").flatMap((name) => {
    const other = /^\d+$/.test(name) ? identify(Number(name)) : undefined;
    if (other === undefined) return [];
    const inside = its.some((kind) => other.namespaces[kind] === namespaces[kind]);
    return inside ? [other.pid] : [];
  });
}

/**
 * Keeps a lab's namespaces, and so their numbers, until disposed; undefined when its init has ended. The kernel gives the number of a
 * namespace that has gone to the next one that is made: who compares numbers without this may take another lab's processes for its own.
 */
export function holdNamespaces(identity: LabIdentity): Disposable | undefined {
  using handles = new DisposableStack();
  try {
    for (const kind of kinds) handles.adopt(openSync(`/proc/${identity.pid}/ns/${kind}`, "r"), closeSync);
  } catch {
    return undefined;
  }
  return isSame(identity) ? handles.move() : undefined;
}

const ours = (): string => readlinkSync("/proc/self/ns/pid");

/** Last number of NSpid: its pid in its own namespace. */
function isInit(pid: number): boolean {
  try {
    return /^NSpid:.*\t1$/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
