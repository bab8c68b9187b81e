import { expect, test } from "bun:test";
import { basename, join } from "node:path";
import { projectRoot } from "../core/paths.ts";
import { collectClaims } from "./claims.ts";
import { extendExpect } from "./matchers.ts";
import { readSpecs } from "./spec-nodes.ts";
import { type Mutant, readRecording, showTeeth } from "./teeth.ts";

/** Every spec with mutants, its claims, and a recording of a real cluster: what `kpi teeth` prints comes from here. */
extendExpect();
await readSpecs();
const only = process.env["KPI_TEETH_AREA"] ?? "*";
const files = [...new Bun.Glob(`specs/teeth/${only}.ts`).scanSync(projectRoot)].sort();
const areas: Record<string, readonly Mutant[]> = {};
for (const file of files) {
  const { mutants } = (await import(join(projectRoot, file))) as { mutants: readonly Mutant[] };
  areas[basename(file, ".ts")] = mutants;
}
// Another module than the one that bun runs as a test file of its own.
const claims = await collectClaims(async () => {
  for (const area of Object.keys(areas)) await import(join(projectRoot, "specs", `${area}.spec.ts?teeth`));
});
const teeth = await showTeeth(claims, areas, readRecording(join(projectRoot, "fixtures", "recorded", "cluster")));
const out = process.env["KPI_TEETH"];
if (out !== undefined && out !== "") await Bun.write(out, JSON.stringify(teeth));

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
