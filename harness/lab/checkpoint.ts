import { constants } from "node:fs";
import { copyFile, link } from "node:fs/promises";
import { join } from "node:path";
import { digestFile } from "./checkpoint-digest.ts";

/** To be raised when a saved lab comes to be laid out or restored in another way. */
export const checkpointFormat = 2;

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

/** A hard link: the file stays while anybody uses it, whoever removes the checkpoint. On another file system, the other way. */
export async function linkOr(
  other: (from: string, to: string) => Promise<void>,
  from: string,
  to: string,
): Promise<void> {
  await link(from, to).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EXDEV" && error.code !== "EMLINK" && error.code !== "EPERM") throw error;
    return other(from, to);
  });
}

/** A copy, by reference where the file system can. */
export const copy = (from: string, to: string) => copyFile(from, to, constants.COPYFILE_FICLONE);
