import { expect, test } from "bun:test";
import { existsSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { entries } from "../tools/directory.ts";
import { makeTestDirectory } from "./test-directory.ts";

test("it goes with what is in it, and stands in the journal until then", () => {
  const state = mkdtempSync(join(tmpdir(), "state-"));
  const journal = () => entries(join(state, "journal"));
  const directory = makeTestDirectory(state);
  writeFileSync(join(directory.path, "left"), "");
  expect(journal()).toHaveLength(1);
  directory[Symbol.dispose]();
  expect(existsSync(directory.path)).toBe(false);
  expect(journal()).toEqual([]);
});
