import { statSync } from "node:fs";
import { join } from "node:path";
import type { Capacity } from "../core/capacity.ts";
import { seconds } from "../core/duration.ts";
import { filesBelow } from "../tools/directory.ts";
import { accessIfThere } from "./access.ts";
import type { ClusterDir } from "./cluster.ts";
import { isRemote } from "./doctor-facts.ts";

/** Memory and disk of this machine. */
export type Room = Pick<Capacity, "memoryMiB" | "diskGiB">;

/**
 * What a cluster takes of this machine. For one that is made anew it counts as free: the old one goes before. Nothing where none runs, or
 * on another machine.
 */
export async function heldBy(cluster: ClusterDir): Promise<Room> {
  const access = await accessIfThere(cluster);
  if (access === undefined || isRemote(access.uri)) return { memoryMiB: 0, diskGiB: 0 };
  const domains = await access.libvirt.domains(AbortSignal.timeout(seconds(10))).catch(() => []);
  const bytes = filesBelow(cluster.labDir).reduce((sum, file) => sum + sizeOnDisk(join(cluster.labDir, file)), 0);
  return {
    memoryMiB: domains.reduce((sum, { residentMiB }) => sum + residentMiB, 0),
    diskGiB: Math.floor(bytes / 2 ** 30),
  };
}

/** A cluster that runs makes and removes files meanwhile. */
const sizeOnDisk = (path: string): number => (statSync(path, { throwIfNoEntry: false })?.blocks ?? 0) * 512;
