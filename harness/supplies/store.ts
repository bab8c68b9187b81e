import { createReadStream } from "node:fs";
import { chmod, link, mkdir, readdir, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { isRefusal, KpiError } from "../core/errors.ts";
import { abandoned, entries, hiddenName } from "../tools/directory.ts";
import { readSound } from "../tools/whole-file.ts";
import type { Supply } from "./lock.ts";

/** One file of a finished supply. */
export interface StoredFile {
  /** Relative to the supply's directory. */
  readonly path: string;
  readonly sha256: string;
  readonly size: number;
  /** Whole milliseconds since 1970; with the size it tells at little cost that nobody has touched the file. */
  readonly mtime: number;
}

/** `manifest.json` of a finished supply: what it is, and what it was made from. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly key: string;
  readonly source: "mirror" | "upstream" | "build";
  /** For people: where it came from. */
  readonly detail: string;
  /** All that the key was computed from. */
  readonly inputs: unknown;
  readonly madeAt: string;
  /** Milliseconds. */
  readonly took: number;
  readonly files: Readonly<Record<string, StoredFile>>;
}

export type Stored =
  | { readonly state: "absent" }
  | { readonly state: "damaged"; readonly what: string }
  | { readonly state: "whole"; readonly manifest: Manifest };

export const suppliesDir = (cache: string) => join(cache, "supplies");
export const supplyDir = (cache: string, name: string) => join(suppliesDir(cache), name);

/** Where a supply's content lies: the key stands for everything that decides the content. */
export function contentDir(cache: string, name: string, version: string, key: string): string {
  return join(supplyDir(cache, name), `${version}-${key.slice(0, 16)}`);
}

/** Where the bytes of an unfinished download of it wait. */
export const downloadDir = (cache: string, name: string) => join(supplyDir(cache, name), ".download");

/** Does work that writes into the cache; says so, as a `host` error, when it is the cache that fails. */
export async function inCache<T>(cache: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isRefusal(error)) throw error;
    throw new KpiError("host", `the cache ${cache} cannot be written: ${error.message}`, {
      hint: "free some space, or set KPI_CACHE to another directory",
      cause: error,
    });
  }
}

/** The SHA-256 of a file, in hexadecimal. */
export async function sha256File(path: string): Promise<string> {
  const hasher = new Bun.CryptoHasher("sha256");
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 })) hasher.update(chunk as Uint8Array);
  return hasher.digest("hex");
}

export const sha256Text = (text: string) => new Bun.CryptoHasher("sha256").update(text).digest("hex");

/**
 * Looks at a supply's directory. By size and time only, unless `full`; where those differ, or with `full`, by hash. A
 * copy of the cache, with new times but the same content, is whole.
 */
export async function readStored(dir: string, full = false): Promise<Stored> {
  const manifest = readSound<Manifest>(join(dir, "manifest.json"));
  if (manifest === undefined && !(await exists(dir))) return { state: "absent" };
  if (!manifest?.files) return { state: "damaged", what: `${dir} has no readable manifest.json` };
  for (const file of Object.values(manifest.files)) {
    const path = join(dir, file.path);
    const found = await stat(path).catch(() => undefined);
    if (found === undefined) return { state: "damaged", what: `${path} is gone` };
    if (found.size !== file.size)
      return { state: "damaged", what: `${path} has ${found.size} bytes, not ${file.size}` };
    if (!full && Math.floor(found.mtimeMs) === file.mtime) continue;
    if ((await sha256File(path)) !== file.sha256) {
      return { state: "damaged", what: `${path} is not what was stored: its sha256 differs` };
    }
  }
  return { state: "whole", manifest };
}

const exists = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  );

/** A directory for work in progress: `out` takes the files, `tmp` everything else. Removed when disposed of. */
export interface Staging extends AsyncDisposable {
  readonly dir: string;
  readonly out: string;
  readonly tmp: string;
}

/** Named after this process, so that a dead one's is told from a live one's. */
export async function stage(cache: string, name: string): Promise<Staging> {
  const dir = join(supplyDir(cache, name), hiddenName("staging"));
  const [out, tmp] = [join(dir, "out"), join(dir, "tmp")];
  for (const path of [out, tmp]) await mkdir(path, { recursive: true, mode: 0o700 });
  return { dir, out, tmp, [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) };
}

/** Staging directories, of all supplies or of one, whose process is dead. Whoever gets them may remove them. */
export function staleStaging(cache: string, name?: string): string[] {
  const names = name === undefined ? entries(suppliesDir(cache)) : [name];
  return names.flatMap((each) => abandoned(supplyDir(cache, each)));
}

/**
 * Turns what lies in `staging.out` into the finished supply, in one step: hashes it, makes it read-only, puts placed files
 * where they belong, writes the manifest, renames. Every file at the top counts, not only the promised ones.
 */
export async function commit(
  staging: Staging,
  dir: string,
  supply: Supply,
  about: Omit<Manifest, "name" | "files" | "madeAt">,
): Promise<Manifest> {
  const made = (await readdir(staging.out, { withFileTypes: true })).filter((entry) => entry.isFile());
  const missing = supply.files.filter((file) => !made.some((entry) => entry.name === file));
  if (missing.length > 0) {
    throw new KpiError("contract", `${supply.name}: the ${about.source} yields no ${missing.join(", ")}`, {
      expected: supply.files.join(", "),
      got: made.map((entry) => entry.name).join(", ") || "nothing",
    });
  }
  const files: Record<string, StoredFile> = {};
  for (const { name } of made.filter((entry) => !entry.name.startsWith("."))) {
    const path = await place(staging.out, name, supply.place?.[name] ?? ["."]);
    const full = join(staging.out, path);
    const { mode, size, mtimeMs } = await stat(full);
    await chmod(full, (mode & 0o111) === 0 ? 0o444 : 0o555);
    files[name] = { path, sha256: await sha256File(full), size, mtime: Math.floor(mtimeMs) };
  }
  const manifest: Manifest = {
    name: supply.name,
    ...about,
    madeAt: new Date().toISOString(),
    files,
  };
  await writeFile(join(staging.out, "manifest.json"), `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o444 });
  await rm(dir, { recursive: true, force: true }); // only ever a damaged one
  await rename(staging.out, dir);
  return manifest;
}

/** Moves a file into the first directory and links it into the others; returns its first path. */
async function place(out: string, name: string, dirs: readonly string[]): Promise<string> {
  const paths = dirs.map((dir) => join(dir, name));
  const [first = name, ...others] = paths;
  for (const path of paths) await mkdir(join(out, dirname(path)), { recursive: true, mode: 0o700 });
  if (first !== name) await rename(join(out, name), join(out, first));
  for (const path of others) await link(join(out, first), join(out, path));
  return first;
}

/** Notes that a supply was used just now. */
export async function touch(dir: string): Promise<void> {
  const now = new Date();
  await utimes(join(dir, "manifest.json"), now, now).catch(() => {});
}
