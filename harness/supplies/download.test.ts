import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { milliseconds, seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { download, type DownloadOptions } from "./download.ts";
import { type Behaviour, Origin } from "./origin.ts";

const body = Uint8Array.from({ length: 50_000 }, (_, index) => (index * 7919) >> 3);
const other = body.toReversed();
const sha256 = new Bun.CryptoHasher("sha256").update(body).digest("hex");
const limits = { answer: seconds(20), stall: seconds(20), attempts: 3, pause: milliseconds(1) };
const soon = { ...limits, answer: milliseconds(250), stall: milliseconds(250), attempts: 2 };

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "kpi-download-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

let serial = 0;
/** A server with one file at /f and a download of it that has not begun. */
async function setUp(behaviour: Behaviour, more: Record<string, Behaviour> = {}) {
  const origin = await Origin.start({ "/f": behaviour, ...more });
  const path = join(dir, `${(serial += 1)}`, "f");
  const get = (options: DownloadOptions = {}) => download(origin.url("/f"), path, { limits, sha256, ...options });
  const fail = (options?: DownloadOptions) =>
    get(options).then(
      () => {
        throw new Error("it did not fail");
      },
      (error: unknown) => error as KpiError,
    );
  /** Breaks it off once so many bytes are there. */
  const interruptAt = async (bytes: number) => {
    const stop = new AbortController();
    const onProgress = ({ done = 0 }) => done >= bytes && stop.abort(new KpiError("interrupted", "enough"));
    const { what } = await fail({ signal: stop.signal, onProgress });
    expect(what).toBe("enough");
  };
  const partial = () => (existsSync(`${path}.partial`) ? statSync(`${path}.partial`).size : undefined);
  return { origin, path, get, fail, interruptAt, partial, [Symbol.asyncDispose]: () => origin[Symbol.asyncDispose]() };
}

describe("download", () => {
  test("fetches a file, tells its hash and leaves nothing else", async () => {
    await using it = await setUp({ body });
    const seen: number[] = [];
    const onProgress = ({ done = 0 }) => void seen.push(done);
    expect(await it.get({ onProgress })).toEqual({ sha256, size: body.length, resumed: false });
    expect(new Uint8Array(readFileSync(it.path))).toEqual(body);
    expect(seen.at(-1)).toBe(body.length);
    expect(it.partial()).toBeUndefined();
    expect(existsSync(`${it.path}.partial.json`)).toBe(false);
  });

  test("follows redirects, also relative ones", async () => {
    await using it = await setUp(
      { status: 302, location: "/b" },
      { "/b": { status: 307, location: "c" }, "/c": { body } },
    );
    expect((await it.get()).size).toBe(body.length);
  });

  test("ends a redirect loop, and a chain without end", async () => {
    const chain = Object.fromEntries(
      Array.from({ length: 9 }, (_, n) => [`/${n}`, { status: 301, location: `/${n + 1}` }]),
    );
    await using it = await setUp(
      { status: 302, location: "/loop" },
      { "/loop": { status: 302, location: "/f" }, ...chain },
    );
    expect((await it.fail()).what).toEndWith(`/f: redirects in a loop, back to ${it.origin.url("/f")}`);
    it.origin.set("/f", { status: 302, location: "/1" });
    expect((await it.fail()).what).toEndWith("/f: redirects more than 5 times");
  });

  test("is patient with a slow server", async () => {
    await using it = await setUp({ body, pieces: 4 });
    expect((await it.get()).sha256).toBe(sha256);
  });

  test("gives up on one that stalls, and keeps what came", async () => {
    await using it = await setUp({ body, stallAfter: 20_000, noRanges: true });
    expect((await it.fail({ limits: soon })).what).toEndWith(
      "/f: stalled: nothing came for 250ms (2 attempts in a row)",
    );
    expect(it.partial()).toBe(20_000);
    expect(existsSync(it.path)).toBe(false);
    it.origin.set("/f", { body });
    expect(await it.get()).toMatchObject({ sha256, resumed: true });
    expect(it.origin.requests.at(-1)?.range).toBe("bytes=20000-");
  });

  test("says that a server never answers, and asks its host no more in this run", async () => {
    await using it = await setUp({ mute: true });
    const unreachable = new Map<string, string>();
    expect((await it.fail({ limits: soon, unreachable })).what).toMatch(/no answer from 127\.0\.0\.1:\d+ in 250ms$/);
    expect((await it.fail({ limits: soon, unreachable })).what).toEndWith("(as before)");
    expect(it.origin.requests).toHaveLength(1);
  });

  test("never takes a truncated file for whole", async () => {
    await using it = await setUp({ body, noRanges: true, cutAfter: 30_000 });
    expect((await it.fail()).what).toEndWith("/f: the connection broke off (3 attempts in a row)");
    expect(existsSync(it.path)).toBe(false);
    // On a busy machine one attempt may bring less than another, which counts as having come further.
    expect(it.origin.requests.length).toBeGreaterThanOrEqual(3);
  });

  test("goes on where the connection broke off, as long as something comes", async () => {
    await using it = await setUp({ body, cutAfter: 9_000 });
    const patient = { ...limits, attempts: 100 };
    expect(await it.get({ limits: patient })).toEqual({ sha256, size: body.length, resumed: true });
    const ranges = it.origin.requests.map(({ range }) => range);
    expect(ranges.length).toBeGreaterThanOrEqual(6);
    expect(ranges.at(-1)).toMatch(/^bytes=[34]\d+-$/);
  });

  test("goes on in a later run, and without a request when all was there", async () => {
    await using it = await setUp({ body, stallAfter: 9_000, times: 1 });
    await it.interruptAt(9_000);
    expect(it.partial()).toBe(9_000);
    await it.get();
    expect(it.origin.requests.map(({ range }) => range)).toEqual([undefined, "bytes=9000-"]);
    expect(it.origin.sent).toBe(body.length);
    writeFileSync(`${it.path}.partial`, body);
    writeFileSync(`${it.path}.partial.json`, JSON.stringify({ url: it.origin.url("/f"), total: body.length }));
    await it.get();
    expect(it.origin.requests).toHaveLength(2);
  });

  test("starts again when the content has changed meanwhile", async () => {
    await using it = await setUp({ body: other, etag: '"old"', stallAfter: 9_000 });
    await it.interruptAt(9_000);
    it.origin.set("/f", { body, etag: '"new"' });
    expect(await it.get()).toEqual({ sha256, size: body.length, resumed: false });
    expect(it.origin.requests.at(-1)?.range).toBe("bytes=9000-");
  });

  test("a bad left-over is no verdict on the server", async () => {
    await using it = await setUp({ body, stallAfter: 9_000, times: 1 });
    await it.interruptAt(9_000);
    writeFileSync(`${it.path}.partial`, other.subarray(0, 9_000));
    expect(await it.get()).toEqual({ sha256, size: body.length, resumed: false });
  });

  test("refuses a wrong hash and keeps nothing of it", async () => {
    await using it = await setUp({ body: other });
    expect(await it.fail()).toMatchObject({ kind: "supply", expected: sha256 });
    expect([existsSync(it.path), it.partial()]).toEqual([false, undefined]);
  });

  test("asks again after 503, not after 404", async () => {
    await using it = await setUp({ body, status: 503, times: 1 });
    expect((await it.get()).sha256).toBe(sha256);
    rmSync(it.path);
    it.origin.set("/f", { status: 404 });
    expect((await it.fail()).what).toEndWith("/f: answers 404 Told So");
    expect(it.origin.requests).toHaveLength(3);
  });

  test("says that nobody listens", async () => {
    const it = await setUp({ body });
    const url = it.origin.url("/f");
    await it[Symbol.asyncDispose]();
    const error = await it.fail();
    expect(error.what).toBe(`${url}: its host refuses the connection`);
  });
});
