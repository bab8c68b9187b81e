import { constants } from "node:fs";
import { copyFile, link, mkdir, readdir, symlink, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { minutes } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import type { OnProgress } from "../core/event.ts";
import { run } from "../tools/exec.ts";
import { Libvirt } from "../tools/libvirt.ts";
import { Machines } from "../tools/libvirt-machine.ts";
import { digestFile } from "./checkpoint-digest.ts";
import type { RunningLab } from "./lab.ts";
import { isCovered } from "./layout.ts";

/** To be raised when a saved lab comes to be laid out or restored in another way. */
export const checkpointFormat = 1;

/** One saved machine; paths are relative to the checkpoint. */
export interface SavedDomain {
  readonly name: string;
  readonly memory: string;
  /** The definition for starting it anew. */
  readonly xml: string;
  /** File name of its root disk in the pool, and the frozen copy of it. */
  readonly volume: string;
  readonly disk: string;
  /** Bytes, as the guest sees it. */
  readonly capacity: number;
}

/** A lab's guests as they were at one moment. Everything they need to go on is in one directory. */
export interface SavedLab {
  readonly domains: readonly SavedDomain[];
  readonly pool: { readonly name: string; readonly xml: string; readonly files: readonly string[] };
}

/** Digest of every file of a checkpoint by its path in it. */
export type Digests = Readonly<Record<string, string>>;

export interface SaveOptions {
  /** The pool with the guests' disks; a directory below the lab's pool directory. */
  readonly pool: string;
  /** Pauses all machines, each at the moment that suits it. Whatever it does, they go on afterwards. */
  readonly pause: (machines: Machines) => Promise<void>;
  /** After they go on; also when saving failed. */
  readonly resumed: (machines: Machines) => Promise<void>;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
}

/**
 * Saves a lab's guests, all together, into a new directory: memory and root disks while they are paused, the rest linked.
 * However it ends, the guests go on. Throws a `host` error when a guest does not run.
 */
export async function saveLab(
  lab: RunningLab,
  dir: string,
  options: SaveOptions,
): Promise<{ saved: SavedLab; pausedFor: number }> {
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
  try {
    await options.pause(machines);
    began = performance.now();
    onProgress({ what: "saving memory and disks" });
    await Promise.all(
      domains.flatMap(({ name, memory, volume, disk, targets }) => [
        machines.saveMemory(name, join(dir, memory), targets, minutes(3)),
        copy(join(poolDir, volume), join(dir, disk)),
      ]),
    );
  } finally {
    await Promise.all(domains.map(({ name }) => awake.resume(name)));
    await options.resumed(awake);
  }
  const pausedFor = performance.now() - began;
  const saved = {
    domains: domains.map(({ targets: _, ...domain }) => domain),
    pool: { name: pool, xml: "pool.xml", files },
  };
  return { saved, pausedFor };
}

/** The digests of all files below a directory, by their path in it. */
export async function digestAll(dir: string, paths: readonly string[], signal: AbortSignal): Promise<Digests> {
  const digests: [string, string][] = [];
  for (const path of paths) digests.push([path, await digestFile(join(dir, path), signal)]);
  return Object.fromEntries(digests);
}

/** What is wrong with a checkpoint's files, the first thing found; undefined when each is there and holds what it held. */
export async function damage(dir: string, digests: Digests, signal: AbortSignal): Promise<string | undefined> {
  for (const [path, digest] of Object.entries(digests)) {
    const now = await digestFile(join(dir, path), signal).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return "absent";
      throw error;
    });
    if (now === "absent") return `${path} is missing`;
    if (now !== digest) return `${path} is not what was saved: its digest differs`;
  }
  return undefined;
}

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
  const restore = async ({ xml, memory }: SavedDomain) => {
    await machines.define(join(dir, xml));
    await machines.restorePaused(join(dir, memory), minutes(2));
  };
  await Promise.all([machines.openPool(saved.pool.name, join(dir, saved.pool.xml)), ...saved.domains.map(restore)]);
  return machines;
}

/** A hard link: the file stays while anybody uses it, whoever removes the checkpoint. On another file system, the other way. */
async function linkOr(other: (from: string, to: string) => Promise<void>, from: string, to: string): Promise<void> {
  await link(from, to).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EXDEV" && error.code !== "EMLINK" && error.code !== "EPERM") throw error;
    return other(from, to);
  });
}

const copy = (from: string, to: string) => copyFile(from, to, constants.COPYFILE_FICLONE);
