import { lstat, readdir, readlink, rm } from "node:fs/promises";
import { basename, join } from "node:path";
import { milliseconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import type { OnProgress } from "../core/event.ts";
import type { Environment } from "../core/paths.ts";
import { mayConfine, run } from "../tools/exec.ts";
import type { BuildSource, BuildTool, Supply, SupplyLock } from "./lock.ts";
import { sha256File, type Staging, supplyDir } from "./store.ts";

/** All that decides what a build makes. Its digest is the build's key. */
export interface BuildInputs {
  readonly version: string;
  /** Path to digest; files outside of the recipe too. */
  readonly files: Readonly<Record<string, string>>;
  readonly tools: Readonly<Partial<Record<BuildTool, string>>>;
}

const probes: Readonly<Record<BuildTool, readonly [string, ...string[]]>> = {
  go: ["go", "env", "GOVERSION"],
  mmdebstrap: ["mmdebstrap", "--version"],
};

/** Text about the recipe, its tests and editors' droppings change nothing of what it makes. */
const irrelevant = [/^\./, /\.md$/, /_test\.go$/, /\.test\.ts$/, /^testdata$/, /~$/];

/** Reads what a build would be made from. Throws a `supply` error when a tool is missing. */
export async function buildInputs(lock: SupplyLock, supply: Supply, build: BuildSource): Promise<BuildInputs> {
  const files: Record<string, string> = {};
  for (const path of [build.recipe, ...(build.inputs ?? [])]) await digestTree(lock.root, path, files);
  if (files[join(build.recipe, "build")] === undefined) {
    throw new KpiError("supply", `${supply.name}: there is no ${join(lock.root, build.recipe, "build")}`);
  }
  const tools: Partial<Record<BuildTool, string>> = {};
  for (const tool of build.tools) tools[tool] = await toolVersion(tool);
  return { version: build.version ?? supply.version, files, tools };
}

async function digestTree(root: string, path: string, files: Record<string, string>): Promise<void> {
  const full = join(root, path);
  const found = await lstat(full).catch(() => undefined);
  if (found?.isSymbolicLink() === true) files[path] = `-> ${await readlink(full)}`;
  else if (found?.isFile() === true) files[path] = `${found.mode & 0o100 ? "x " : ""}${await sha256File(full)}`;
  else if (found?.isDirectory() === true) {
    for (const name of (await readdir(full)).sort()) {
      if (!irrelevant.some((pattern) => pattern.test(name))) await digestTree(root, join(path, name), files);
    }
  }
}

async function toolVersion(tool: BuildTool): Promise<string> {
  const [command, ...args] = probes[tool];
  try {
    // In a neutral place, and without switching: which toolchain a recipe ends up with follows from this and its go.mod.
    // mmdebstrap starts others to say who it is: they end with us, as when it builds.
    const { stdout } = await run(command, args, {
      cwd: "/",
      env: { GOTOOLCHAIN: "local" },
      confined: mayConfine,
      tied: true,
    });
    return stdout.trim();
  } catch (cause) {
    throw new KpiError("supply", `${command} is missing or does not run`, { hint: "kpi doctor --fix", cause });
  }
}

/** Where a build writes what it says; kept until the next build of the same supply. */
export const buildLog = (cache: string, name: string) => join(supplyDir(cache, name), "build.log");

/**
 * Runs the recipe. Everything it starts ends with us, and all that it writes lies in the staging directory. Throws a
 * `supply` error with its last lines and its log.
 */
export async function runRecipe(
  lock: SupplyLock,
  supply: Supply,
  build: BuildSource,
  staging: Staging,
  options: { cache: string; env: Environment; signal?: AbortSignal; onProgress?: OnProgress },
): Promise<void> {
  const log = buildLog(options.cache, supply.name);
  await rm(log, { force: true });
  const recipe = join(lock.root, build.recipe);
  try {
    await run(join(recipe, "build"), [staging.out], {
      cwd: recipe,
      env: {
        ...options.env,
        TMPDIR: staging.tmp,
        KPI_SUPPLY_VERSION: build.version ?? supply.version,
        GOTOOLCHAIN: "auto",
      },
      confined: mayConfine,
      tied: true,
      // Confined, it leaves nothing that it would have to tidy up, and the staging directory is ours to remove.
      grace: milliseconds(300),
      log,
      onLine: (line) => options.onProgress?.({ what: `building ${basename(build.recipe)}: ${line.trim()}` }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
  } catch (error) {
    options.signal?.throwIfAborted();
    if (!(error instanceof KpiError)) throw error;
    throw new KpiError("supply", `the build in ${build.recipe} failed`, {
      details: error.details,
      evidence: [log],
      ...(error.command === undefined ? {} : { command: error.command }),
    });
  }
}
