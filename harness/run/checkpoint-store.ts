import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseSize } from "../core/size.ts";
import { KpiError } from "../core/errors.ts";
import type { Environment } from "../core/paths.ts";
import type { Plan } from "../core/plan.ts";
import type { Digests, SavedLab } from "../lab/checkpoint.ts";
import { abandoned, entries, filesBelow, hiddenName } from "../tools/directory.ts";
import { isAlive, type Owner, thisOwner } from "../tools/owner.ts";
import { readSound, writeWhole } from "../tools/whole-file.ts";
import type { CheckpointInputs } from "./checkpoint-key.ts";

/** `manifest.json` of a checkpoint: a Ready cluster as it was at one moment. Its directory holds secrets: 0700, files 0600. */
export interface Manifest {
  readonly id: string;
  readonly key: string;
  readonly inputs: CheckpointInputs;
  readonly cluster: string;
  readonly plan: Plan;
  /** Path of the spec that the plan follows from. */
  readonly spec: string;
  /** Content key of the image that the disks are clones of. */
  readonly image: string;
  readonly madeAt: string;
  /** Milliseconds: all in all, and how long the nodes stood still. */
  readonly took: number;
  readonly pausedFor: number;
  /** Bytes on disk. */
  readonly size: number;
  readonly saved: SavedLab;
  /** Of every other file of the directory. */
  readonly digests: Digests;
}

/** A checkpoint on disk, as its manifest says; whether its files are whole is asked when it is used. */
export interface StoredCheckpoint {
  readonly dir: string;
  readonly manifest: Manifest;
  readonly uses: Uses;
}

export interface Uses {
  readonly count: number;
  /** Milliseconds since 1970; the time it was made, when it never was used. */
  readonly last: number;
}

export const checkpointsDir = (cache: string) => join(cache, "checkpoints");

/** The room that checkpoints may take together, in bytes: `KPI_CHECKPOINT_SPACE`, 12GiB unless said otherwise. With 0 none are made. */
export function checkpointSpace(env: Environment = process.env): number {
  const text = env["KPI_CHECKPOINT_SPACE"] || "12GiB";
  const mebibytes = text === "0" ? 0 : parseSize(text);
  if (mebibytes !== undefined) return mebibytes * 1024 * 1024;
  throw new KpiError("spec", "KPI_CHECKPOINT_SPACE is no size", { expected: "for instance 12GiB, or 0", got: text });
}

/** All finished checkpoints, newest first. One whose manifest cannot be believed is left out, and told. */
export function listCheckpoints(cache: string, onBad: (why: string) => void = () => {}): StoredCheckpoint[] {
  return entries(checkpointsDir(cache))
    .filter((name) => !name.startsWith("."))
    .flatMap((name) => {
      const dir = join(checkpointsDir(cache), name);
      try {
        return [readCheckpoint(dir)];
      } catch (error) {
        if (!(error instanceof KpiError)) throw error;
        onBad(error.what);
        return [];
      }
    })
    .sort((a, b) => b.manifest.madeAt.localeCompare(a.manifest.madeAt));
}

/** Reads a manifest, which must be the one that was written. Throws a `host` error otherwise. */
export function readCheckpoint(dir: string): StoredCheckpoint {
  const bad = (what: string) => new KpiError("host", `checkpoint ${dir}: ${what}`);
  let text: string;
  let seal: string;
  try {
    text = readFileSync(join(dir, "manifest.json"), "utf8");
    seal = readFileSync(join(dir, "manifest.sha256"), "utf8").trim();
  } catch {
    throw bad("its manifest is missing");
  }
  if (sha256(text) !== seal) throw bad("its manifest is not what was saved: its sha256 differs");
  const manifest = JSON.parse(text) as Manifest;
  return { dir, manifest, uses: readUses(dir, manifest) };
}

/** Writes the manifest, which makes the directory whole. It counts once it is renamed into place. */
export function writeManifest(dir: string, manifest: Manifest): void {
  const text = `${JSON.stringify(manifest, null, 2)}\n`;
  writeWhole(join(dir, "manifest.json"), text);
  writeWhole(join(dir, "manifest.sha256"), `${sha256(text)}\n`);
}

const sha256 = (text: string) => createHash("sha256").update(text).digest("hex");

const readUses = (dir: string, { madeAt }: Manifest): Uses =>
  readSound<Uses>(join(dir, "uses.json")) ?? { count: 0, last: Date.parse(madeAt) };

/** Notes that it is being used, for the count and for who goes first when room is short. */
export function noteUse({ dir, uses }: StoredCheckpoint): void {
  writeFileSync(join(dir, "uses.json"), JSON.stringify({ count: uses.count + 1, last: Date.now() }), { mode: 0o600 });
}

/** Says who uses a checkpoint: as long as that process lives, it is not removed. Gives the file, to be written again for another owner. */
export function refer(dir: string, lab: string, owner: Owner = thisOwner()): string {
  const refs = join(dir, "refs");
  mkdirSync(refs, { recursive: true, mode: 0o700 });
  for (const name of entries(refs)) if (!isAlive(referrer(name))) rmSync(join(refs, name), { force: true });
  const path = join(refs, `${lab}-${owner.pid}-${owner.start}.json`);
  writeFileSync(path, JSON.stringify(owner), { mode: 0o600 });
  return path;
}

/** The labs that use a checkpoint and live. */
export function users(dir: string): string[] {
  return entries(join(dir, "refs"))
    .map(referrer)
    .filter(isAlive)
    .map(({ lab }) => lab);
}

/** Whose a file of `refs` is, by its name: that is whole from the moment it is there. One that is not named so is nobody's. */
function referrer(name: string): { readonly lab: string; readonly pid: number; readonly start: number } {
  const [, lab = "", pid, start] = /^(.+)-(\d+)-(\d+)\.json$/.exec(name) ?? [];
  return { lab, pid: Number(pid), start: Number(start) };
}

/** What eviction looks at. */
export interface Candidate {
  readonly id: string;
  readonly size: number;
  readonly lastUsed: number;
  readonly inUse: boolean;
}

/** Which checkpoints must go so that all others fit: those unused for longest first, never one in use. Pure. */
export function toEvict(candidates: readonly Candidate[], space: number): string[] {
  let total = candidates.reduce((sum, { size }) => sum + size, 0);
  const gone: string[] = [];
  for (const { id, size } of candidates.filter(({ inUse }) => !inUse).sort((a, b) => a.lastUsed - b.lastUsed)) {
    if (total <= space) break;
    gone.push(id);
    total -= size;
  }
  return gone;
}

/**
 * Makes room: removes what `toEvict` names, and unused ones that a newer one of the same key replaces; never `keep`, which has just been
 * made, whatever the clock said then. Returns what went.
 */
export function evict(cache: string, space: number, keep?: string): StoredCheckpoint[] {
  const isKept = ({ manifest }: StoredCheckpoint) => manifest.id === keep;
  const all = listCheckpoints(cache).sort((a, b) => Number(isKept(b)) - Number(isKept(a)));
  const replaced = all.filter(({ manifest }, index) =>
    all.slice(0, index).some((newer) => newer.manifest.key === manifest.key),
  );
  const rest = all.filter((each) => !replaced.includes(each));
  const candidates = rest.map(({ dir, manifest, uses }) => ({
    id: manifest.id,
    size: manifest.size,
    lastUsed: Math.max(uses.last, Date.parse(manifest.madeAt)),
    inUse: manifest.id === keep || users(dir).length > 0,
  }));
  const ids = toEvict(candidates, space);
  return [...replaced, ...rest.filter(({ manifest }) => ids.includes(manifest.id))].filter(({ dir }) => drop(dir));
}

/** Removes a checkpoint, unless somebody has begun to use it meanwhile. In one step: half of one is never seen. */
export function drop(dir: string): boolean {
  if (users(dir).length > 0) return false;
  const aside = join(dir, "..", hiddenName("gone"));
  renameSync(dir, aside);
  if (users(aside).length > 0) {
    renameSync(aside, dir);
    return false;
  }
  rmSync(aside, { recursive: true, force: true });
  return true;
}

/** A directory for a checkpoint in the making, named after this process. */
export function stagingDir(cache: string): string {
  const dir = join(checkpointsDir(cache), hiddenName("staging"));
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  return dir;
}

/** Directories that a dead process was making or removing. Whoever gets them may remove them. */
export const staleCheckpoints = (cache: string): string[] => abandoned(checkpointsDir(cache));

/** Bytes that a directory's files take on disk; the manifest's `size`. */
export function diskUsage(dir: string): number {
  return filesBelow(dir).reduce((sum, path) => sum + statSync(join(dir, path)).blocks * 512, 0);
}
