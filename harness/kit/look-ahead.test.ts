import { expect, test } from "bun:test";
import { join } from "node:path";
import { projectRoot } from "../core/paths.ts";
import { looksAhead, looksAt, picksTitle, selects } from "./look-ahead.ts";

const spec = "specs/lab.yaml";

test("what a file looks at is read from its claims", () => {
  const text = `const cluster = useCluster("specs/lab.yaml");\ncluster.eachNode(\n  "network", "...", () => {});`;
  expect(looksAt(text, spec, "network")).toBe(true);
  expect(looksAt(text, spec, "ready")).toBe(false);
  expect(looksAt(text, "specs/pair.yaml", "network")).toBe(false);
});

test("only files that run as a whole count", () => {
  const file = "specs/network.spec.ts";
  expect(selects(["test"], file)).toBe(true);
  expect(selects(["test", "./specs/network.spec.ts", "--bail"], file)).toBe(true);
  expect(selects(["test", "network"], file)).toBe(true);
  expect(selects(["test", join("/", file)], file)).toBe(false);
  expect(selects(["test", "./specs/storage.spec.ts"], file)).toBe(false);
  expect(selects(["test", "-t", "static address"], file)).toBe(false);
  expect(selects(["test", "--test-name-pattern=static"], file)).toBe(false);
  expect(selects(["run", "x.ts"], file)).toBe(false);
});

test("every look of the real specs is found ahead, each by the files that are run", () => {
  const stages = ["network", "machine", "install", "ready", "access", "networking", "storage", "image", "idempotent"];
  expect(looksAhead(spec, stages, ["test"])).toEqual(stages);
  expect(looksAhead(spec, stages, ["test", "./specs/storage.spec.ts"])).toEqual(["ready", "storage"]);
  expect(looksAhead(spec, stages, ["test", join(projectRoot, "specs/image.spec.ts")])).toEqual([
    "machine",
    "install",
    "image",
  ]);
});

test("a title that bun's pattern does not match is not run", () => {
  const title = "results a reader reads it";
  for (const args of [["test"], ["test", "-t", "reader reads"], ["test", "--test-name-pattern=^results a"]])
    expect(picksTitle(args, title), args.join(" ")).toBe(true);
  for (const args of [
    ["test", "-t", "static address"],
    ["test", "x", "-t=static"],
  ])
    expect(picksTitle(args, title), args.join(" ")).toBe(false);
});
