import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseRange, serveFile } from "./files.ts";

const dir = mkdtempSync(join(tmpdir(), "kpi-files-"));
afterAll(() => rmSync(dir, { recursive: true }));
writeFileSync(join(dir, "k3s"), "0123456789");
const files = { "/k3s": join(dir, "k3s"), "/a b": join(dir, "k3s"), "/gone": join(dir, "gone") };
const ask = (path: string, headers: Record<string, string> = {}, method = "GET") =>
  serveFile(new Request(`http://artifacts.kpi.test${path}`, { method, headers }), files);

describe("parseRange", () => {
  test.each([
    [null, "all"],
    ["bytes=0-", { first: 0, last: 9 }],
    ["bytes=4-", { first: 4, last: 9 }],
    ["bytes=2-5", { first: 2, last: 5 }],
    ["bytes=2-500", { first: 2, last: 9 }],
    ["bytes=-3", { first: 7, last: 9 }],
    ["bytes=-30", { first: 0, last: 9 }],
    ["bytes=10-", "unsatisfiable"],
    ["bytes=-0", "unsatisfiable"],
    ["bytes=5-2", "all"],
    ["bytes=0-1,4-5", "all"],
    ["lines=1-2", "all"],
    ["bytes=-", "all"],
  ] as const)("%s of ten bytes", (header, expected) => {
    expect(parseRange(header, 10)).toEqual(expected);
  });
});

describe("serveFile", () => {
  test("whole, in part, and past the end", async () => {
    expect(await ask("/k3s").text()).toBe("0123456789");
    const part = ask("/k3s", { range: "bytes=4-6" });
    expect([part.status, part.headers.get("content-range"), await part.text()]).toEqual([206, "bytes 4-6/10", "456"]);
    const past = ask("/k3s", { range: "bytes=10-" });
    expect([past.status, past.headers.get("content-range")]).toEqual([416, "bytes */10"]);
  });

  test("only what was named, and only to read", () => {
    expect(ask("/a%20b").status).toBe(200);
    expect(["/", "/gone", "/../etc/passwd", "/constructor", "/%"].map((path) => ask(path).status)).toEqual([
      404, 404, 404, 404, 404,
    ]);
    expect(ask("/k3s", {}, "PUT").status).toBe(405);
  });
});
