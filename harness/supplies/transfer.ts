import { createReadStream } from "node:fs";
import { open, rm } from "node:fs/promises";
import { type Duration, formatDuration, milliseconds } from "../core/duration.ts";
import { notYet, until } from "../core/deadline.ts";
import { isRefusal, KpiError } from "../core/errors.ts";
import { proxyFor } from "../tools/environment.ts";
import { type Partial, readPartial, writeNote } from "./partial.ts";

/** What went wrong with one attempt. `again`: trying once more may help. `hostDown`: so would every other file of that host. */
export class Trouble extends Error {
  constructor(
    readonly what: string,
    readonly again: boolean,
    readonly hostDown = false,
  ) {
    super(what);
  }
}

export interface TransferLimits {
  /** From the request to the answer's headers, on every hop. */
  readonly answer: Duration;
  /** Longest pause between two pieces of the body. */
  readonly stall: Duration;
}

/** A whole file on disk. */
export interface Downloaded {
  readonly sha256: string;
  readonly size: number;
  /** Part of it came from an earlier, interrupted attempt. */
  readonly resumed: boolean;
}

const mostRedirects = 5;

/**
 * One attempt at fetching `url` into the file `path`, going on where an earlier one ended if the server still has the
 * same content (Range with If-Range). Whatever happens, what has arrived stays there. Throws `Trouble`.
 */
export async function transfer(
  url: string,
  path: string,
  limits: TransferLimits,
  signal: AbortSignal | undefined,
  onBytes: (done: number, total: number | undefined) => void,
): Promise<Downloaded> {
  const had = await readPartial(path, url);
  const hasher = new Bun.CryptoHasher("sha256");
  if (had.size > 0) for await (const chunk of createReadStream(path)) hasher.update(chunk as Uint8Array);
  if (had.size > 0 && had.size === had.total) {
    return { sha256: hasher.digest("hex"), size: had.size, resumed: true };
  }
  const line = new Line(limits, signal);
  try {
    const response = await line.answer(url, had);
    if (response.status === 206) checkRange(response, had);
    else if (response.status !== 200) await refuse(response, path);
    const resumed = response.status === 206;
    const hash = resumed ? hasher : new Bun.CryptoHasher("sha256");
    const from = resumed ? had.size : 0;
    const length = response.headers.get("content-length");
    const total = length === null ? undefined : from + Number(length);
    writeNote(path, { url, validator: validatorOf(response), total });
    const size = await line.body(response, path, resumed, from, (chunk, done) => {
      hash.update(chunk);
      onBytes(done, total);
    });
    if (total !== undefined && size < total) throw new Trouble(`ended early, after ${size} of ${total} bytes`, true);
    if (total === undefined) writeNote(path, { url, validator: validatorOf(response), total: size });
    return { sha256: hash.digest("hex"), size, resumed };
  } finally {
    line.hangUp();
  }
}

/** A connection that knows why it was ended. */
class Line {
  private readonly stop = new AbortController();
  private trouble: Trouble | undefined;
  private readonly signal: AbortSignal;

  constructor(
    private readonly limits: TransferLimits,
    private readonly outer: AbortSignal | undefined,
  ) {
    this.signal = outer === undefined ? this.stop.signal : AbortSignal.any([outer, this.stop.signal]);
  }

  hangUp(): void {
    this.stop.abort();
  }

  private end(trouble: Trouble): void {
    this.trouble ??= trouble;
    this.stop.abort();
  }

  /** Our own reason first, then the user's, then what the network said. */
  private explain(error: unknown): unknown {
    this.outer?.throwIfAborted();
    return this.trouble ?? (error instanceof Trouble ? error : networkTrouble(error));
  }

  /** The first answer that is no redirect. */
  async answer(first: string, had: Partial): Promise<Response> {
    let url = first;
    const seen = new Set<string>();
    for (let hops = 0; hops <= mostRedirects; hops++) {
      if (seen.has(url)) throw new Trouble(`redirects in a loop, back to ${url}`, false);
      seen.add(url);
      const response = await this.request(url, had);
      const location = response.headers.get("location");
      if (response.status < 300 || response.status > 399 || location === null) return response;
      await response.body?.cancel();
      const next = new URL(location, url);
      if (next.protocol !== "https:" && new URL(url).protocol === "https:") {
        throw new Trouble(`redirects from https to ${next.protocol.replace(":", "")}`, false);
      }
      url = next.href;
    }
    throw new Trouble(`redirects more than ${mostRedirects} times`, false);
  }

  private async request(url: string, had: Partial): Promise<Response> {
    const headers: Record<string, string> = { "accept-encoding": "identity", "user-agent": "kpi" };
    if (had.size > 0 && had.validator !== undefined) {
      headers["range"] = `bytes=${had.size}-`;
      headers["if-range"] = had.validator;
    }
    const proxy = proxyFor(new URL(url));
    const rest = proxy === undefined ? {} : { proxy };
    const options = { headers, redirect: "manual", signal: this.signal, decompress: false, ...rest } as const;
    try {
      return await until("an answer", this.limits.answer, () => fetch(url, options));
    } catch (error) {
      if (error instanceof KpiError && error.kind === "deadline") {
        this.end(
          new Trouble(`no answer from ${new URL(url).host} in ${formatDuration(this.limits.answer)}`, false, true),
        );
      }
      throw this.explain(error);
    }
  }

  /** Appends the body to the file; returns the file's size. */
  async body(
    response: Response,
    path: string,
    append: boolean,
    from: number,
    onChunk: (chunk: Uint8Array, done: number) => void,
  ): Promise<number> {
    let done = from;
    let over = false;
    const file = await open(path, append ? "a" : "w", 0o600);
    const watch = this.watch(() => (over ? undefined : done));
    try {
      for await (const chunk of response.body ?? []) {
        await file.appendFile(chunk);
        done += chunk.length;
        onChunk(chunk, done);
      }
    } catch (error) {
      if (isRefusal(error)) throw error;
      throw this.explain(error);
    } finally {
      over = true;
      this.stop.abort();
      await Promise.all([file.close(), watch]);
    }
    return done;
  }

  /** Hangs up when nothing has come for too long. `progress` is undefined once the body is over. */
  private async watch(progress: () => number | undefined): Promise<void> {
    const every = milliseconds(Math.min(250, this.limits.stall / 4));
    for (let last = progress(); last !== undefined; last = progress()) {
      const seen = last;
      try {
        await until(
          "more of the body",
          this.limits.stall,
          () => (progress() === seen ? notYet("nothing came") : undefined),
          {
            every,
            signal: this.stop.signal,
          },
        );
      } catch {
        if (progress() === undefined) return;
        this.end(new Trouble(`stalled: nothing came for ${formatDuration(this.limits.stall)}`, true));
        return;
      }
    }
  }
}

/** A strong ETag, else the date: what If-Range takes. */
function validatorOf(response: Response): string | undefined {
  const tag = response.headers.get("etag");
  return tag?.startsWith('"') === true ? tag : (response.headers.get("last-modified") ?? undefined);
}

function checkRange(response: Response, had: Partial): void {
  const range = response.headers.get("content-range") ?? "";
  if (range.startsWith(`bytes ${had.size}-`)) return;
  throw new Trouble(`answers with the range ${JSON.stringify(range)} where ${had.size}- was asked for`, false);
}

async function refuse(response: Response, path: string): Promise<never> {
  await response.body?.cancel();
  const { status } = response;
  // The range cannot be had: what we hold is of another content.
  if (status === 416) await rm(path, { force: true });
  const text = `answers ${status}${response.statusText === "" ? "" : ` ${response.statusText}`}`;
  throw new Trouble(text, status === 416 || status === 429 || status >= 500);
}

/** Codes of the system and of the runtime, in words. */
function networkTrouble(error: unknown): Trouble {
  const { code, message } = error as { code?: unknown; message?: unknown };
  switch (code) {
    case "ENOTFOUND":
    case "EAI_AGAIN":
    case "EAI_NONAME":
      return new Trouble("its host name does not resolve", false, true);
    case "ECONNREFUSED":
    case "ConnectionRefused":
      return new Trouble("its host refuses the connection", false, true);
    case "ENETUNREACH":
    case "EHOSTUNREACH":
    case "ETIMEDOUT":
      return new Trouble("its host cannot be reached", false, true);
    case "ECONNRESET":
    case "ConnectionClosed":
    case "EPIPE":
      return new Trouble("the connection broke off", true);
    default:
      return new Trouble(`failed: ${String(message ?? error).split("\n")[0]}`, false);
  }
}
