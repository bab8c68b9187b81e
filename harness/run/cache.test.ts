import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { projectRoot } from "../core/paths.ts";
import type { Plan } from "../core/plan.ts";
import { tryLock } from "../tools/owner.ts";
import { cacheParts, purgeCache, refuseUsedCache } from "./cache.ts";
import { ClusterDir } from "./cluster.ts";

let paths: { state: string; cache: string };
beforeEach(() => {
  const cache = mkdtempSync(join(tmpdir(), "cache-"));
  paths = { cache, state: join(cache, "state") }; // below it, as KPI_CACHE=/data KPI_STATE=/data/state has it
});
afterEach(() => rmSync(paths.cache, { recursive: true, force: true }));

test("the parts of the cache are those that the code makes", () => {
  const files = ["harness", "specs"].flatMap((place) =>
    [...new Bun.Glob("**/*.ts").scanSync(join(projectRoot, place))].map((file) => join(projectRoot, place, file)),
  );
  const made = files
    .filter((file) => !file.endsWith(".test.ts"))
    .flatMap((file) => [...readFileSync(file, "utf8").matchAll(/join\([\w.()]*\bcache, "([\w-]+)"/g)])
    .map(([, part = ""]) => part);
  expect([...new Set(made)].sort()).toEqual([...cacheParts]);
});

test("purging removes what kpi has made in the cache, and nothing that lies beside it", () => {
  for (const part of [...cacheParts, "state", "photos"]) mkdirSync(join(paths.cache, part, "x"), { recursive: true });
  writeFileSync(join(paths.cache, "letter"), "");
  purgeCache(paths);
  expect(readdirSync(paths.cache).sort()).toEqual(["letter", "photos", "state"]);
});

test("a cache that is not there is used by nobody, and purged already", () => {
  const gone = { ...paths, cache: join(paths.cache, "gone") };
  expect(() => refuseUsedCache(gone)).not.toThrow();
  expect(() => purgeCache(gone)).not.toThrow();
});

test("it is refused while another cluster is there, or another kpi makes something; not for the one that goes", () => {
  expect(() => refuseUsedCache(paths)).not.toThrow();
  const plan = { cluster: "one", host: { kind: "libvirt", uri: "qemu:///system" }, nodes: [] } as unknown as Plan;
  const one = new ClusterDir(paths.state, "one");
  one.write({ plan, spec: "one", phase: "ready", run: "one", image: "", since: "" });
  const refused = (going?: string) => {
    try {
      refuseUsedCache(paths, going);
      return [];
    } catch (error) {
      return (error as { details: string[] }).details;
    }
  };
  expect(refused()).toEqual(["cluster one is there"]);
  expect(refused("one")).toEqual([]);
  const lock = tryLock(join(paths.cache, "images", "k3s-node", ".lock"));
  expect(refused("one")).toEqual([expect.stringContaining(`process ${process.pid} is at work there: kpi`)]);
  if ("release" in lock) lock.release();
  expect(refused("one")).toEqual([]);
});
