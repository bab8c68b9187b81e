import { beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { projectRoot } from "../core/paths.ts";
import type { Teeth } from "../core/teeth.ts";
import type { Breakage } from "./breakage.ts";
import type { DeclaredClaim } from "./claims.ts";
import { extendExpect } from "./matchers.ts";
import { claimsOf, readAreas, readBreakages } from "./spec-claims.ts";
import { readSpecs } from "./spec-nodes.ts";
import { readRecording, showTeeth } from "./teeth.ts";

const only = process.env["KPI_TEETH_AREA"];
let claims: readonly DeclaredClaim[];
let breakages: readonly Breakage[];
let teeth: Teeth;

/** Every spec with mutants, its claims, and a recording of a real cluster: what `kpi teeth` prints comes from here. */
beforeAll(async () => {
  extendExpect();
  await readSpecs();
  const areas = await readAreas(only);
  claims = await claimsOf(Object.keys(areas), "teeth");
  breakages = await readBreakages();
  const recording = readRecording(join(projectRoot, "fixtures", "recorded", "cluster"));
  teeth = await showTeeth(claims, areas, recording, breakages);
  const out = process.env["KPI_TEETH"];
  if (out !== undefined && out !== "") await Bun.write(out, JSON.stringify(teeth));
});

test("every claim holds on the recorded cluster", () => {
  expect(teeth.broken).toEqual([]);
});

test("every mutant is killed by the claims that it names, each with the right words", () => {
  const survivors = teeth.bites.filter(({ missing }) => missing.length > 0);
  expect(survivors.map(({ area, what, missing }) => `${area}: ${what}: ${missing.join("; ")}`)).toEqual([]);
});

test("every claim kills a mutant", () => {
  expect(teeth.claims.filter(({ kills }) => kills === 0).map(({ file, title }) => `${file}: ${title}`)).toEqual([]);
});

test.skipIf(only !== undefined)("every breakage of a real machine names claims that there are", () => {
  const titles = claims.map(({ title }) => title);
  const named = breakages.flatMap(({ kills, perhaps = [] }) => [...Object.keys(kills), ...perhaps]);
  expect(named.filter((title) => !titles.includes(title))).toEqual([]);
});
