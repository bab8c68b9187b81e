import { basename, join } from "node:path";
import { projectRoot } from "../core/paths.ts";
import { collectClaims, type DeclaredClaim } from "./claims.ts";
import type { Breakage, Round } from "./breakage.ts";
import type { Mutant } from "./teeth.ts";

/** The areas that have teeth, with their mutants: specs/teeth/AREA.ts. */
export async function readAreas(only = "*"): Promise<Readonly<Record<string, readonly Mutant[]>>> {
  const areas: Record<string, readonly Mutant[]> = {};
  for (const file of [...new Bun.Glob(`specs/teeth/${only}.ts`).scanSync(projectRoot)].sort()) {
    const { mutants } = (await import(join(projectRoot, file))) as { mutants: readonly Mutant[] };
    areas[basename(file, ".ts")] = mutants;
  }
  return areas;
}

/** What specs/breaking.spec.ts breaks. */
export async function readBreakages(): Promise<readonly Breakage[]> {
  const { rounds } = (await import(join(projectRoot, "specs", "breakages", "rounds.ts"))) as { rounds: Round[] };
  return rounds.flatMap(({ breakages }) => breakages);
}

/** The claims of these areas' specs, collected instead of run. `why` makes them other modules than those that bun runs as test files. */
export const claimsOf = (areas: readonly string[], why: string): Promise<readonly DeclaredClaim[]> =>
  collectClaims(async () => {
    for (const area of areas) await import(join(projectRoot, "specs", `${area}.spec.ts?${why}`));
  });
