import { existsSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { mountPath, type TestKpi } from "../harness/kit.ts";

/**
 * Everything that is left of a test's own kpi on this machine, whatever else runs here: processes that were started with its
 * state directory or live in one of its labs, mounts, files in its temporary directory, and what its state still lists.
 * Stable lines; empty when nothing is left.
 */
export function leaksOf({ state, temporary }: TestKpi): string[] {
  const mounts = mountPath(readFileSync("/proc/mounts", "utf8")).split("\n");
  const files = (dir: string) => (existsSync(dir) ? readdirSync(dir).map((name) => `file ${dir}/${name}`) : []);
  return [
    ...processes().flatMap((pid) => (belongs(pid, state) ? [`process ${nameOf(pid)}`] : [])),
    ...mounts.filter((line) => line.includes(state)).map((line) => `mount ${line}`),
    ...files(temporary),
    ...["labs", "clusters", "journal"].flatMap((name) => files(`${state}/${name}`)),
  ].sort();
}

/** By its environment, which children inherit, or by its mounts: a lab clears the environment and mounts its own directories. */
function belongs(pid: string, state: string): boolean {
  if (Number(pid) === process.pid) return false;
  const environment = read(`/proc/${pid}/environ`).split("\0");
  if (environment.includes(`KPI_STATE=${state}`)) return true;
  // What is mounted is named by its path in its file system, which need not be the one that / is in.
  const within = `/${join(basename(dirname(state)), basename(state))}/`;
  return inOtherMounts(pid) && mountPath(read(`/proc/${pid}/mountinfo`)).includes(within);
}

const ours = readlinkSync("/proc/self/ns/mnt");

function inOtherMounts(pid: string): boolean {
  try {
    return readlinkSync(`/proc/${pid}/ns/mnt`) !== ours;
  } catch {
    return false; // gone, or a zombie, which runs nothing and holds nothing
  }
}

const processes = (): string[] => readdirSync("/proc").filter((entry) => /^\d+$/.test(entry));
const nameOf = (pid: string): string => read(`/proc/${pid}/comm`).trim();

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return ""; // gone
  }
}
