import { mkdir, rename, rm, stat } from "node:fs/promises";
import { dirname } from "node:path";
import { type Duration, milliseconds, minutes, seconds } from "../core/duration.ts";
import { notYet, until } from "../core/deadline.ts";
import { KpiError } from "../core/errors.ts";
import type { OnProgress } from "../core/event.ts";
import { urlFileName } from "./lock.ts";
import { readPartial, removePartial } from "./partial.ts";
import { sha256File } from "./store.ts";
import { type Downloaded, transfer, type TransferLimits, Trouble } from "./transfer.ts";

/** How patient a download is. */
export interface DownloadLimits extends TransferLimits {
  /** Attempts in a row that bring nothing new. */
  readonly attempts: number;
  /** Between two attempts. */
  readonly pause: Duration;
}

export const downloadLimits: DownloadLimits = {
  answer: seconds(20),
  stall: seconds(30),
  attempts: 3,
  pause: seconds(2),
};

export interface DownloadOptions {
  readonly limits?: DownloadLimits;
  /** Refused unless the content has this hash. */
  readonly sha256?: string;
  /** Hosts that this run has found out of reach, with what was seen; added to, and not tried again. */
  readonly unreachable?: Map<string, string>;
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
}

/**
 * Fetches `url` to `path`. Until it is whole, and of the expected hash, it lies beside it as `path.partial`: an interrupted
 * download is gone on with by the next call, a wrong one is removed. Throws a `supply` error naming the address and what
 * happened.
 */
export async function download(url: string, path: string, options: DownloadOptions = {}): Promise<Downloaded> {
  const partial = `${path}.partial`;
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  if (options.sha256 !== undefined) {
    const size = await wholeAlready(path, options.sha256);
    if (size !== undefined) return { sha256: options.sha256, size, resumed: true };
  }
  let got = await fetchWhole(url, partial, options);
  const wrong = (found: Downloaded) => options.sha256 !== undefined && found.sha256 !== options.sha256;
  if (wrong(got) && got.resumed) {
    // What an earlier run left may have been bad, or not ours: that is no verdict on the server.
    await removePartial(partial);
    got = await fetchWhole(url, partial, options);
  }
  if (wrong(got)) {
    await removePartial(partial);
    throw new KpiError("supply", `${url}: its sha256 is wrong, so it is refused`, {
      expected: options.sha256 ?? "",
      got: got.sha256,
    });
  }
  await rename(partial, path);
  await rm(`${partial}.json`, { force: true });
  return got;
}

/** The size of what `path` holds when that is already what is wanted; `pinSupply` leaves it there. Anything else there is removed. */
async function wholeAlready(path: string, sha256: string): Promise<number | undefined> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return undefined;
  if ((await sha256File(path)) === sha256) return found.size;
  await rm(path, { force: true });
  return undefined;
}

/** As often as it is worth trying. */
async function fetchWhole(url: string, partial: string, options: DownloadOptions): Promise<Downloaded> {
  const { limits = downloadLimits, unreachable, signal, onProgress } = options;
  const { host } = new URL(url);
  const what = urlFileName(url);
  let most = 0;
  for (let fruitless = 0; ;) {
    const known = unreachable?.get(host);
    if (known !== undefined) throw new KpiError("supply", `${url}: ${known} (as before)`);
    try {
      return await transfer(url, partial, limits, signal, (done, total) =>
        onProgress?.({ what, done, unit: "bytes", ...(total === undefined ? {} : { total }) }),
      );
    } catch (error) {
      if (!(error instanceof Trouble)) throw error;
      if (error.hostDown) unreachable?.set(host, error.what);
      const { size } = await readPartial(partial, url);
      fruitless = size > most ? 1 : fruitless + 1;
      most = Math.max(most, size);
      if (!error.again || fruitless >= limits.attempts) {
        const tried = fruitless > 1 ? ` (${fruitless} attempts in a row)` : "";
        throw new KpiError("supply", `${url}: ${error.what}${tried}`, { cause: error });
      }
      onProgress?.({ what: `${what}: ${error.what}; trying again` });
    }
    await rest(limits.pause, signal);
  }
}

async function rest(pause: Duration, signal: AbortSignal | undefined): Promise<void> {
  let rested = false;
  const attempt = () => {
    if (rested) return;
    rested = true;
    notYet("resting");
  };
  const every = milliseconds(Math.max(1, pause));
  await until("a pause", minutes(10), attempt, signal === undefined ? { every } : { every, signal });
}
