import { rm, stat } from "node:fs/promises";
import { KpiError } from "../core/errors.ts";
import type { Position } from "../core/fault.ts";
import { nodeAt } from "../core/yaml.ts";
import { writeWhole } from "../tools/whole-file.ts";
import { download, downloadLimits } from "./download.ts";
import { lockedSupply, parseLockNode, unpinned, urlFileName } from "./lock.ts";
import { downloadPath } from "./release.ts";
import { hold } from "./resolution.ts";
import { inCache } from "./store.ts";
import type { SupplyContext } from "./supply.ts";

/** A hash that was recorded now, or (`known`) stood in the lock file before. */
export interface Pin {
  readonly url: string;
  readonly sha256: string;
  readonly size?: number;
  readonly known: boolean;
  /** The release's own list that says the same. */
  readonly confirmedBy?: string;
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
  using _ = await inCache(cache, () => hold(cache, name, signal, onProgress));
  const fetch = (url: string) =>
    inCache(cache, () =>
      download(url, downloadPath(cache, supply, { url }), {
        limits: context.limits ?? downloadLimits,
        onProgress,
        ...(signal === undefined ? {} : { signal }),
      }),
    );
  const pins: Pin[] = [];
  for (const file of supply.upstream) {
    if (file.sha256 !== unpinned) {
      pins.push({ url: file.url, sha256: file.sha256, known: true });
      continue;
    }
    const { sha256, size } = await fetch(file.url);
    pins.push({ url: file.url, sha256, size, known: false });
  }
  if (pins.every(({ known }) => known)) return pins;
  if (supply.sums !== undefined) {
    await fetch(supply.sums);
    const list = downloadPath(cache, supply, { url: supply.sums });
    const text = await Bun.file(list).text();
    await rm(list, { force: true });
    confirm(pins, supply.sums, text);
  }
  await record(lock.path, name, pins);
  const confirmed = supply.sums === undefined ? {} : { confirmedBy: supply.sums };
  return pins.map((pin) => (pin.known ? pin : { ...pin, ...confirmed }));
}

/** Refuses pins that the release's own list does not confirm. It comes from the same place, so it proves no honesty, but it does prove that nothing was mangled on the way. */
function confirm(pins: readonly Pin[], sums: string, list: string): void {
  for (const { url, sha256, known } of pins) {
    const file = urlFileName(url);
    const line = list.split("\n").find((each) => each.trim().split(/\s+\*?/)[1] === file);
    if (known || line?.startsWith(sha256) === true) continue;
    throw new KpiError("supply", `${url}: its hash is not the one in ${sums}, so it is not pinned`, {
      expected: line?.split(/\s/)[0] ?? `a line for ${file}`,
      got: sha256,
    });
  }
}

/** Replaces each `unpinned` where it stands. Reads the file anew: it may have changed while we were fetching. */
async function record(path: string, name: string, pins: readonly Pin[]): Promise<void> {
  const text = await Bun.file(path).text();
  const changed = await withPins(text, path, name, pins);
  writeWhole(path, changed, (await stat(path)).mode);
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
