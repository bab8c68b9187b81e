import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { kpiPaths, run } from "../harness/kit.ts";

/** A cache of a test's own with what this machine's holds, linked and not copied; without checkpoints, and the parts named. */
export async function linkCache(into: string, without: readonly string[] = []): Promise<void> {
  const { cache } = kpiPaths();
  mkdirSync(into);
  const parts = readdirSync(cache).filter((part) => ![...without, "checkpoints", "admission"].includes(part));
  await run("cp", ["-al", ...parts.map((part) => join(cache, part)), into]);
}
