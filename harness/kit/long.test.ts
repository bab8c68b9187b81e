import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "../core/paths.ts";
import { longSpecs, skippedSpecs } from "./long.ts";

const file = "breaking.spec.ts";
const why = (args: readonly string[], told?: string) => skippedSpecs(args, told)[file];
const skipped = /^forty-nine breakages .*; kpi test --all runs it, and bun test specs\/breaking\.spec\.ts$/;

test("a long file is skipped, with the reason and the way to run it, unless it is named or tests are picked by title", () => {
  expect(why(["test"])).toMatch(skipped);
  expect(why(["test", "specs"])).toMatch(skipped);
  expect(why(["test", "./specs/budget.spec.ts"])).toMatch(skipped);
  expect(why(["test", "./specs/breaking.spec.ts"])).toBeUndefined();
  expect(why(["test", "breaking"])).toBeUndefined();
  expect(why(["test", "-t", "static address"])).toBeUndefined();
});

test("kpi test decides for all files, which it names all", () => {
  expect(why(["test", "./specs/breaking.spec.ts"], "0")).toMatch(skipped);
  expect(why(["test"], "1")).toBeUndefined();
});

test("every long file is there", () => {
  for (const name of Object.keys(longSpecs)) expect(existsSync(join(projectRoot, "specs", name)), name).toBe(true);
});
