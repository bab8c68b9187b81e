import { existsSync, readFileSync, statfsSync } from "node:fs";
import { availableParallelism } from "node:os";
import { dirname } from "node:path";
import type { Capacity } from "../core/capacity.ts";

export interface Memory {
  readonly totalMiB: number;
  readonly availableMiB: number;
}

/** What this machine has for guests: memory that is available now, cores, and free disk where `dir` is or will be. */
export function machineCapacity(dir: string): Capacity {
  return { memoryMiB: machineMemory().availableMiB, cpus: availableParallelism(), diskGiB: freeGiB(dir) };
}

/** The memory of this machine, or of the container that this process is in. */
export function machineMemory(): Memory {
  return readMemory(read("/proc/meminfo"), controlGroup());
}

/** What a control group allows and what it holds, in bytes; `cache` is the part that it gives back when asked. */
export interface ControlGroup {
  readonly limit: number;
  readonly held: number;
  readonly cache: number;
}

/** Memory from /proc/meminfo, or what is left of the control group's limit if that is less. */
export function readMemory(meminfo: string, group?: ControlGroup): Memory {
  const kib = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(meminfo)?.[1] ?? 0);
  const [total, available] = [kib("MemTotal") * 1_024, kib("MemAvailable") * 1_024];
  const limit = Math.min(total, group?.limit ?? total);
  const left = group === undefined ? available : Math.min(available, limit - (group.held - group.cache));
  return { totalMiB: Math.floor(limit / 2 ** 20), availableMiB: Math.floor(left / 2 ** 20) };
}

/** Of this process's container, in version 2 or 1; undefined without a limit. */
function controlGroup(): ControlGroup | undefined {
  const dir = "/sys/fs/cgroup";
  const [limit, held, stat] = existsSync(`${dir}/memory.max`)
    ? [read(`${dir}/memory.max`), read(`${dir}/memory.current`), read(`${dir}/memory.stat`)]
    : ["limit_in_bytes", "usage_in_bytes", "stat"].map((name) => read(`${dir}/memory/memory.${name}`));
  const bytes = Number(limit || "none");
  if (!Number.isFinite(bytes) || bytes > 2 ** 60) return undefined; // "max", or version 1's way to say so
  const cache = /^(?:total_)?inactive_file (\d+)$/m.exec(stat ?? "")?.[1];
  return { limit: bytes, held: Number(held), cache: Number(cache ?? 0) };
}

/** Free disk space, in GiB, where the path is: of the nearest directory that exists, as it may still have to be made. */
export function freeGiB(path: string): number {
  for (let dir = path; ; dir = dirname(dir)) {
    if (existsSync(dir) || dir === "/") {
      const { bavail, bsize } = statfsSync(dir);
      return Math.floor((bavail * bsize) / 2 ** 30);
    }
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
}
