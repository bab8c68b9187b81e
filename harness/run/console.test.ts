import { afterAll, describe, expect, test } from "bun:test";
import { appendFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { orAborted } from "../core/deadline.ts";
import { followConsoles, parseVerdict, plainLine, recordConsoles } from "./console.ts";

const dir = mkdtempSync(join(tmpdir(), "console-"));
afterAll(() => rmSync(dir, { recursive: true }));
const verdict = '{"kpi":1,"node":"n1","step":"dns","ok":false,"detail":"no answer","wall":1700000000.5,"mono":31.2}';

describe("parseVerdict", () => {
  test("reads the line that a node writes, also behind other output", () => {
    const seen = parseVerdict(`[   31.2] x KPI-VERDICT ${verdict}`);
    expect(seen).toEqual({ node: "n1", step: "dns", ok: false, detail: "no answer", wall: 1700000000.5, mono: 31.2 });
  });

  test("anything else is an ordinary line", () => {
    for (const line of ["Debian GNU/Linux 13", "KPI-VERDICT {", 'KPI-VERDICT {"node":1}'])
      expect(parseVerdict(line)).toBeUndefined();
  });
});

test("plainLine drops what drives a terminal", () => {
  expect(plainLine("\x1b[2J\x1b[01;01H[\x1b[0;32m  OK  \x1b[0m] Started k3s.\r")).toBe("[  OK  ] Started k3s.");
});

test("followConsoles hands over every line once, also of a file that appears later", async () => {
  const seen: string[] = [];
  const both = Promise.withResolvers<void>();
  appendFileSync(join(dir, "a.log"), "early\n");
  const onLine = (node: string, line: string) => {
    seen.push(`${node}: ${line}`);
    if (seen.length === 3) both.resolve();
  };
  using _follower = followConsoles(dir, ["a", "b"], onLine, both.reject);
  appendFileSync(join(dir, "a.log"), "late\n");
  appendFileSync(join(dir, "b.log"), `KPI-VERDICT ${verdict}\n`);
  await both.promise;
  expect(seen.sort()).toEqual(["a: early", "a: late", `b: KPI-VERDICT ${verdict}`]);
});

test("where libvirt writes no consoles they are recorded through it, as soon as there are any, until abort", async () => {
  const stop = new AbortController();
  const asked: string[] = [];
  const connected = Promise.withResolvers<void>();
  const consoles = {
    async console(node: string, onLine: (line: string) => void, signal: AbortSignal) {
      asked.push(node);
      if (asked.length === 1) throw new Error("the domain is not running");
      onLine("Linux version 6.12");
      connected.resolve();
      await orAborted(signal, new Promise<never>(() => {}));
    },
  };
  const at = join(dir, "recorded");
  recordConsoles(consoles, at, ["c"], stop.signal, () => {});
  await connected.promise;
  stop.abort();
  expect(readFileSync(join(at, "c.log"), "utf8")).toBe("Linux version 6.12\n");
  expect(statSync(join(at, "c.log")).mode & 0o777).toBe(0o600);
});

test("a recorded line for which there is no room is told", async () => {
  const stop = new AbortController();
  const at = join(dir, "full");
  mkdirSync(at);
  symlinkSync("/dev/full", join(at, "c.log"));
  const told = Promise.withResolvers<unknown>();
  const consoles = {
    async console(_node: string, onLine: (line: string) => void, signal: AbortSignal) {
      onLine("KPI-VERDICT {}");
      await orAborted(signal, new Promise<never>(() => {}));
    },
  };
  recordConsoles(consoles, at, ["c"], stop.signal, told.resolve);
  expect(await told.promise).toMatchObject({ code: "ENOSPC" });
  stop.abort();
});
