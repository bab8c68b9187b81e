import { join } from "node:path";
import type { Progress } from "../core/event.ts";
import type { Environment } from "../core/paths.ts";
import type { DownloadLimits } from "./download.ts";
import type { SupplyLock } from "./lock.ts";
import type { Manifest } from "./store.ts";

export type SourceName = "machine" | "mirror" | "upstream" | "build";

/** A file that is there, of the hash that is said. */
export interface ResolvedFile {
  readonly path: string;
  readonly sha256: string;
  readonly size: number;
}

/** A supply that can be used: absolute paths, read-only files. */
export interface ResolvedSupply {
  readonly name: string;
  readonly version: string;
  readonly source: SourceName;
  /** For people: where exactly it came from, and why not from a better place. */
  readonly detail: string;
  readonly dir: string;
  readonly files: Readonly<Record<string, ResolvedFile>>;
  /** When it was made or fetched. */
  readonly age: Date;
}

/** What every operation on supplies needs. */
export interface SupplyContext {
  readonly lock: SupplyLock;
  /** The cache's top, `$KPI_CACHE`. */
  readonly cache: string;
  readonly env?: Environment;
  readonly signal?: AbortSignal;
  readonly onProgress?: (name: string, progress: Progress) => void;
  readonly limits?: DownloadLimits;
}

/** A finished directory as its user sees it. Pure. */
export function resolvedFrom(dir: string, manifest: Manifest): ResolvedSupply {
  const files = Object.entries(manifest.files).map(([name, { path, sha256, size }]): [string, ResolvedFile] => [
    name,
    { path: join(dir, path), sha256, size },
  ]);
  const { name, version, source, detail, madeAt } = manifest;
  return { name, version, source, detail, dir, files: Object.fromEntries(files), age: new Date(madeAt) };
}
