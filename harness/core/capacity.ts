import type { Plan } from "./plan.ts";

/** What a machine has free for guests. */
export interface Capacity {
  readonly memoryMiB: number;
  readonly cpus: number;
  readonly diskGiB: number;
}

/** What the host itself needs beside the guests: QEMU's own memory a node, and the harness. */
const overhead = { perNodeMiB: 200, hostMiB: 1_024 } as const;

/** Every reason for which the machine cannot run the plan, each with what is needed and what is there; empty when it can. Disks are thin, so half of their size must be free at least. */
export function shortages(plan: Plan, free: Capacity): string[] {
  const memory = memoryNeeded(plan) + overhead.hostMiB;
  const disk = Math.ceil(plan.needs.diskGiB / 2);
  return [
    lack("memory", memory / 1_024, free.memoryMiB / 1_024, "GiB"),
    lack("cpus a node", plan.needs.cpus, free.cpus, "cores"),
    lack("disk", disk, free.diskGiB, "GiB"),
  ].filter((reason) => reason !== undefined);
}

/** What a cluster's machines take of the host's memory when they use all of theirs, in MiB. */
export const memoryNeeded = (plan: Plan): number => plan.needs.memoryMiB + plan.nodes.length * overhead.perNodeMiB;

function lack(what: string, needed: number, there: number, unit: string): string | undefined {
  if (there >= needed) return undefined;
  const short = (value: number) => (Number.isInteger(value) ? String(value) : value.toFixed(1));
  return `${what}: needs ${short(needed)} ${unit}, ${short(there)} ${unit} are there`;
}
