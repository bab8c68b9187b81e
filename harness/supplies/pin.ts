import { rename, stat, writeFile } from "node:fs/promises";
import { KpiError } from "../core/errors.ts";
import type { Position } from "../core/fault.ts";
import { nodeAt } from "../core/yaml.ts";
import { download, downloadLimits } from "./download.ts";
import { lockedSupply, parseLockNode, unpinned } from "./lock.ts";
import { downloadPath } from "./release.ts";
import { hold } from "./resolution.ts";
import type { SupplyContext } from "./supply.ts";

/** A hash that was recorded now, or (`known`) stood in the lock file before. */
export interface Pin {
  readonly url: string;
  readonly sha256: string;
  readonly size?: number;
  readonly known: boolean;
}

/**
 * Fetches the unpinned upstream files of a supply and records their hashes in the lock file, all or none; everything else in the
 * file stays as it is. What was fetched is kept, so that the next resolve need not fetch it again. Throws a `supply` error
 * when a file cannot be had, a `spec` error when the supply has no upstream.
 */
export async function pinSupply(name: string, context: SupplyContext): Promise<Pin[]> {
  const { lock, cache, signal } = context;
  const supply = lockedSupply(lock, name);
  if (supply.upstream === undefined) {
    throw new KpiError("spec", `${name} has no upstream release, so there is nothing to pin`, {
      ...(supply.build === undefined ? {} : { got: `it is built by ${supply.build.recipe}` }),
    });
  }
  const onProgress = (progress: Parameters<NonNullable<SupplyContext["onProgress"]>>[1]) =>
    context.onProgress?.(name, progress);
  using _ = await hold(cache, name, signal, onProgress);
  const pins: Pin[] = [];
  for (const file of supply.upstream) {
    if (file.sha256 !== unpinned) {
      pins.push({ url: file.url, sha256: file.sha256, known: true });
      continue;
    }
    const path = downloadPath(cache, supply, file);
    const { sha256, size } = await download(file.url, path, {
      limits: context.limits ?? downloadLimits,
      onProgress,
      ...(signal === undefined ? {} : { signal }),
    });
    pins.push({ url: file.url, sha256, size, known: false });
  }
  if (pins.some(({ known }) => !known)) await record(lock.path, name, pins);
  return pins;
}

/** Replaces each `unpinned` where it stands. Reads the file anew: it may have changed while we were fetching. */
async function record(path: string, name: string, pins: readonly Pin[]): Promise<void> {
  const text = await Bun.file(path).text();
  const changed = await withPins(text, path, name, pins);
  const temporary = `${path}.${process.pid}.part`;
  await writeFile(temporary, changed, { mode: (await stat(path)).mode });
  await rename(temporary, path);
}

/** The lock file's text with the hashes in it; comments, order and spacing stay. */
export async function withPins(text: string, path: string, name: string, pins: readonly Pin[]): Promise<string> {
  const root = await parseLockNode(text, path);
  const lines = text.split("\n");
  const files = nodeAt(root, ["supplies", name, "upstream"]);
  for (let index = 0; files?.kind === "list" && index < files.items.length; index++) {
    const url = nodeAt(root, ["supplies", name, "upstream", index, "url"]);
    const hash = nodeAt(root, ["supplies", name, "upstream", index, "sha256"]);
    if (url?.kind !== "scalar" || hash?.kind !== "scalar" || hash.value !== unpinned) continue;
    const pin = pins.find((each) => each.url === url.value);
    if (pin !== undefined) replaceAt(lines, hash.at, hash.source, pin.sha256);
  }
  return lines.join("\n");
}

function replaceAt(lines: string[], { line, col }: Position, old: string, fresh: string): void {
  const before = lines[line - 1] ?? "";
  lines[line - 1] = before.slice(0, col - 1) + fresh + before.slice(col - 1 + old.length);
}
