import { copyFile, chmod, mkdir, rename } from "node:fs/promises";
import { join } from "node:path";
import { KpiError } from "../core/errors.ts";
import type { OnProgress } from "../core/event.ts";
import { download, type DownloadLimits } from "./download.ts";
import { type Supply, upstreamNames, urlFileName, type UpstreamFile } from "./lock.ts";
import { downloadDir, sha256File, sha256Text, type Staging } from "./store.ts";
import { together } from "./together.ts";
import { unzip } from "./zip.ts";

/** How the files of a release are got. */
export interface ReleaseOptions {
  readonly cache: string;
  readonly limits: DownloadLimits;
  readonly unreachable: Map<string, string>;
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
}

/** Where the download of a file waits until it is whole: named after its address, so that a later run finds it. */
export function downloadPath(cache: string, supply: Supply, { url }: { readonly url: string }): string {
  return join(downloadDir(cache, supply.name), `${sha256Text(url).slice(0, 8)}-${urlFileName(url)}`);
}

/**
 * Fetches all files of the release, side by side, and takes them into the staging directory. Every one is of its pinned hash. One that is whole
 * waits for the others where a later run finds it.
 */
export async function fromUpstream(supply: Supply, staging: Staging, options: ReleaseOptions): Promise<void> {
  const files = supply.upstream ?? [];
  await together(files, options.signal, async (file, signal) => {
    const path = downloadPath(options.cache, supply, file);
    await download(file.url, path, { ...options, signal, sha256: file.sha256 });
  });
  for (const file of files) {
    const path = downloadPath(options.cache, supply, file);
    const taken = join(staging.tmp, urlFileName(file.url));
    await rename(path, taken);
    await unpack(file, taken, staging);
  }
}

/**
 * Takes all files of the release from a directory: `<name>/<version>/<file>`, `<name>/<file>` or `<file>` in it. Copies
 * first and checks the copy's hash then, so that what was checked is what is kept. Throws a `supply` error.
 */
export async function fromMirror(supply: Supply, mirror: string, staging: Staging): Promise<void> {
  for (const file of supply.upstream ?? []) {
    const name = urlFileName(file.url);
    const taken = join(staging.tmp, name);
    const places = [join(supply.name, supply.version, name), join(supply.name, name), name];
    const from = await firstCopied(
      places.map((place) => join(mirror, place)),
      taken,
    );
    if (from === undefined) throw new KpiError("supply", `${mirror} has no ${places[0]}, nor ${name} elsewhere in it`);
    const sha256 = await sha256File(taken);
    if (sha256 !== file.sha256) {
      throw new KpiError("supply", `${from}: its sha256 is wrong, so it is refused`, {
        expected: file.sha256,
        got: sha256,
      });
    }
    await unpack(file, taken, staging);
  }
}

async function firstCopied(paths: readonly string[], target: string): Promise<string | undefined> {
  for (const path of paths) {
    try {
      await copyFile(path, target);
      return path;
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "ENOENT" && code !== "ENOTDIR" && code !== "EISDIR") {
        throw new KpiError("supply", `${path} cannot be copied (${code ?? String(error)})`, { cause: error });
      }
    }
  }
  return undefined;
}

async function unpack(file: UpstreamFile, taken: string, staging: Staging): Promise<void> {
  await mkdir(staging.out, { recursive: true });
  if (file.unzip !== undefined) {
    for (const member of file.unzip) await unzip(taken, member, join(staging.out, member));
    return;
  }
  const target = join(staging.out, upstreamNames(file)[0] ?? urlFileName(file.url));
  await rename(taken, target);
  await chmod(target, file.executable === true ? 0o755 : 0o644);
}
