import { join } from "node:path";
import { projectRoot } from "../core/paths.ts";

/** The bun that this project pins. */
export const bun = join(projectRoot, "node_modules", ".bin", "bun");

/** Its test runner, without what lies in the caller's `.env`: as kpi itself is started. Run in {@link projectRoot}. */
export const bunTest: readonly [string, ...string[]] = [bun, "test", "--no-env-file"];
