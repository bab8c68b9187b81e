import { statSync } from "node:fs";
import { join } from "node:path";
import type { Capacity } from "../core/capacity.ts";
import { seconds } from "../core/duration.ts";
import { openLab } from "../lab/lab.ts";
import { filesBelow } from "../tools/directory.ts";
import { remoteMachine } from "../tools/libvirt-uri.ts";
import { Libvirt } from "../tools/libvirt.ts";
import type { ClusterDir, ClusterState } from "./cluster.ts";

/** Memory and disk of this machine. */
export type Room = Pick<Capacity, "memoryMiB" | "diskGiB">;

/**
 * What a cluster takes of this machine. For one that is made anew it counts as free: the old one goes before. Nothing where none runs, or
 * on another machine. Only looks.
 */
export async function heldBy(cluster: ClusterDir): Promise<Room> {
  const plan = planOf(cluster);
  const uri =
    plan?.host.kind === "libvirt" ? plan.host.uri : (await openLab(cluster.labDir).catch(() => undefined))?.uri;
  if (plan === undefined || uri === undefined || remoteMachine(uri) !== undefined) return { memoryMiB: 0, diskGiB: 0 };
  const own = new Set(plan.nodes.map(({ name }) => name));
  const domains = await new Libvirt(uri).domains(AbortSignal.timeout(seconds(10))).catch(() => []);
  const bytes = filesBelow(cluster.labDir).reduce((sum, file) => sum + sizeOnDisk(join(cluster.labDir, file)), 0);
  return {
    memoryMiB: domains.reduce((sum, { name, residentMiB }) => sum + (own.has(name) ? residentMiB : 0), 0),
    diskGiB: Math.floor(bytes / 2 ** 30),
  };
}

function planOf(cluster: ClusterDir): ClusterState["plan"] | undefined {
  try {
    return cluster.read()?.plan;
  } catch {
    return undefined; // it cannot be read: whoever wants to change it says so
  }
}

/** A cluster that runs makes and removes files meanwhile. */
const sizeOnDisk = (path: string): number => (statSync(path, { throwIfNoEntry: false })?.blocks ?? 0) * 512;
