import { mkdir, readdir, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { minutes } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import type { OnProgress } from "../core/event.ts";
import { Libvirt } from "../tools/libvirt.ts";
import { Machines } from "../tools/libvirt-machine.ts";
import { copy, linkOr, type SavedDomain, type SavedLab } from "./checkpoint.ts";
import type { RunningLab } from "./lab.ts";
import { isCovered } from "./layout.ts";

export interface SaveOptions {
  /** The pool with the guests' disks; a directory below the lab's pool directory. */
  readonly pool: string;
  /** Pauses all machines, each at the moment that suits it. Whatever it does, they go on afterwards. */
  readonly pause: (machines: Machines) => Promise<void>;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
}

export interface SaveResult {
  readonly saved: SavedLab;
  /** Milliseconds for which the machines stood still. */
  readonly pausedFor: number;
  /** Milliseconds since 1970: when they went on. */
  readonly resumedAt: number;
}

/**
 * Saves a lab's guests, all together, into a new directory: memory and root disks while they are paused, the rest linked.
 * However it ends, the guests go on. Throws a `host` error when a guest does not run.
 */
export async function saveLab(lab: RunningLab, dir: string, options: SaveOptions): Promise<SaveResult> {
  if (isCovered(dir))
    throw new KpiError("host", "checkpoint: its directory would be hidden from the lab", {
      got: dir,
      hint: "set KPI_CACHE to another directory",
    });
  const { pool, signal, onProgress } = options;
  const machines = new Machines(lab.uri, signal);
  const poolDir = join(lab.poolDir.host, pool);
  for (const part of ["memory", "disks", "domains", "pool"])
    await mkdir(join(dir, part), { recursive: true, mode: 0o700 });
  const found = await new Libvirt(lab.uri).domains(signal);
  const domains = found.map(({ name, state, disks }): SavedDomain & { targets: string[] } => {
    const [root] = disks;
    if (state !== "running" || root === undefined)
      throw new KpiError("host", `checkpoint: ${name} is ${state}`, { expected: "every node running" });
    const volume = basename(root.path);
    const memory = join("memory", `${name}.save`);
    const xml = join("domains", `${name}.xml`);
    const targets = disks.map(({ target }) => target);
    return { name, memory, xml, volume, disk: join("disks", volume), capacity: root.capacity, targets };
  });
  const roots = new Set(domains.map(({ volume }) => volume));
  const files = (await readdir(poolDir)).filter((file) => !roots.has(file)).sort();
  await writeFile(join(dir, "pool.xml"), await machines.poolXml(pool), { mode: 0o600 });
  await Promise.all([
    ...domains.map(async ({ name, xml }) =>
      writeFile(join(dir, xml), await machines.inactiveXml(name), { mode: 0o600 }),
    ),
    ...files.map((file) => linkOr(copy, join(poolDir, file), join(dir, "pool", file))),
  ]);

  const awake = new Machines(lab.uri); // what was paused goes on, whatever was aborted
  let began = performance.now();
  let resumedAt = 0;
  const failed: unknown[] = []; // the first one counts: why it was not saved, before that somebody was not told the time
  try {
    await options.pause(machines);
    began = performance.now();
    onProgress({ what: "saving memory and disks" });
    const saving = domains.flatMap(({ name, memory, volume, disk, targets }) => [
      machines.saveMemory(name, join(dir, memory), targets, minutes(3)),
      copy(join(poolDir, volume), join(dir, disk)),
    ]);
    await Promise.allSettled(saving); // none must still read when the machines go on
    await Promise.all(saving);
  } catch (error) {
    failed.push(error);
  } finally {
    resumedAt = Date.now();
    // One after the other: a node whose neighbours are waking takes seconds to hear what time it is.
    for (const { name } of domains) await awake.goOn(name).catch((error: unknown) => failed.push(error));
  }
  if (failed.length > 0) throw failed[0];
  const pausedFor = performance.now() - began;
  const saved = {
    domains: domains.map(({ targets: _, ...domain }) => domain),
    pool: { name: pool, xml: "pool.xml", files },
  };
  return { saved, pausedFor, resumedAt };
}
