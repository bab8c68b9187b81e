import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { minutes } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { projectRoot } from "../core/paths.ts";
import type { Teeth } from "../core/teeth.ts";
import { run } from "../tools/exec.ts";
import { bunTest } from "./bun.ts";

const program = "./harness/kit/teeth.test.ts";

/**
 * Judges every claim on a recorded cluster that is broken on purpose, in every way that specs/teeth lists. Claims are bun
 * tests, so bun judges them. `area` is one of specs/*.spec.ts. Throws a `spec` error when there is no such area.
 */
export async function runTeeth(area: string | undefined, signal: AbortSignal): Promise<Teeth> {
  const areas = [...new Bun.Glob("*.ts").scanSync(join(projectRoot, "specs", "teeth"))]
    .map((file) => file.slice(0, -3))
    .sort();
  if (area !== undefined && !areas.includes(area))
    throw new KpiError("spec", `teeth: there is no area ${JSON.stringify(area)}`, { expected: areas.join(", ") });
  const dir = mkdtempSync(join(tmpdir(), "kpi-teeth-"));
  try {
    const out = join(dir, "teeth.json");
    const [command, ...args] = bunTest;
    const env = { KPI_TEETH: out, NO_COLOR: "1", ...(area === undefined ? {} : { KPI_TEETH_AREA: area }) };
    const { stderr } = await run(command, [...args, program], {
      cwd: projectRoot,
      env,
      signal,
      timeout: minutes(2),
      accept: [0, 1],
    });
    return readTeeth(out, stderr);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

function readTeeth(path: string, said: string): Teeth {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as Teeth;
  } catch (cause) {
    const details = said.trim().split("\n").slice(-8);
    throw new KpiError("contract", "teeth: bun judged nothing", { details, command: `bun test ${program}`, cause });
  }
}
