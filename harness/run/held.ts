import { statSync } from "node:fs";
import { join } from "node:path";
import type { Capacity } from "../core/capacity.ts";
import { seconds } from "../core/duration.ts";
import { openLab } from "../lab/lab.ts";
import { filesBelow } from "../tools/directory.ts";
import { otherMachine } from "../tools/libvirt-uri.ts";
import type { Domain } from "../tools/libvirt-domain.ts";
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
  if (plan === undefined) return { memoryMiB: 0, diskGiB: 0 };
  const { host } = plan;
  const uri = host.kind === "libvirt" ? host.uri : (await openLab(cluster.labDir).catch(() => undefined))?.uri;
  const nodes = uri === undefined || otherMachine(host) !== undefined ? [] : await nodesOf(uri, plan);
  const sizes =
    host.kind === "libvirt"
      ? nodes.flatMap(({ disks }) => disks.map(({ allocation }) => allocation))
      : filesBelow(cluster.labDir).map((file) => sizeOnDisk(join(cluster.labDir, file))); // of one that died as well
  return {
    memoryMiB: nodes.reduce((sum, { residentMiB }) => sum + residentMiB, 0),
    diskGiB: Math.floor(sizes.reduce((sum, bytes) => sum + bytes, 0) / 2 ** 30),
  };
}

async function nodesOf(uri: string, plan: ClusterState["plan"]): Promise<Domain[]> {
  const own = new Set(plan.nodes.map(({ name }) => name));
  const domains = await new Libvirt(uri).domains(AbortSignal.timeout(seconds(10))).catch(() => []);
  return domains.filter(({ name }) => own.has(name));
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
