import { mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { minutes } from "../core/duration.ts";
import { run } from "../tools/exec.ts";
import { Machines } from "../tools/libvirt-machine.ts";
import { copy, linkOr, type SavedDomain, type SavedLab } from "./checkpoint.ts";
import type { RunningLab } from "./lab.ts";

/** Copy-on-write disks for the guests of a lab that is about to be made, on frozen ones that will lie in its pool. */
export async function makeOverlays(saved: SavedLab, id: string, into: string, inside: string): Promise<void> {
  await mkdir(into, { recursive: true, mode: 0o700 });
  await Promise.all(
    saved.domains.map(({ volume, capacity }) => {
      const backing = join(inside, saved.pool.name, frozenName(volume, id));
      const format = ["-u", "-f", "qcow2", "-F", "qcow2", "-b", backing];
      return run("qemu-img", ["create", "-q", ...format, join(into, volume), String(capacity)]);
    }),
  );
}

const frozenName = (volume: string, id: string) => `${volume}.${id}`;

/** Puts a checkpoint's files where a lab's guests look for them; links, so it takes no time and no room. */
export async function placeDisks(
  lab: RunningLab,
  dir: string,
  id: string,
  saved: SavedLab,
  overlays: string,
): Promise<void> {
  const poolDir = join(lab.poolDir.host, saved.pool.name);
  await mkdir(poolDir, { recursive: true, mode: 0o700 });
  await Promise.all([
    ...saved.pool.files.map((file) => linkOr(symlink, join(dir, "pool", file), join(poolDir, file))),
    ...saved.domains.map(({ volume, disk }) => linkOr(symlink, join(dir, disk), join(poolDir, frozenName(volume, id)))),
    ...saved.domains.map(({ volume }) => linkOr(copy, join(overlays, volume), join(poolDir, volume))),
  ]);
}

/** Makes the saved guests in a lab whose files are placed; all are paused afterwards. */
export async function restorePaused(
  lab: RunningLab,
  dir: string,
  saved: SavedLab,
  signal: AbortSignal,
): Promise<Machines> {
  const machines = new Machines(lab.uri, signal);
  const opening = machines.openPool(saved.pool.name, join(dir, saved.pool.xml)); // some disks are named by their pool
  const restore = async ({ xml, memory }: SavedDomain) => {
    await Promise.all([machines.define(join(dir, xml)), opening]);
    await machines.restorePaused(join(dir, memory), minutes(2));
  };
  await Promise.all(saved.domains.map(restore));
  return machines;
}
