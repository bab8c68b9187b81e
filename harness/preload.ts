import { afterAll, setDefaultTimeout } from "bun:test";
import { kpiPaths } from "./core/paths.ts";
import { skipLongSpecs } from "./kit/long.ts";
import { end } from "./kit/results.ts";
import { onInterrupt } from "./run/interrupt.ts";
import { ownSuite } from "./run/suite-record.ts";
import { makeTestDirectory } from "./run/test-directory.ts";

// `[test] timeout` in bunfig.toml has no effect in Bun 1.4; unit tests that need longer are in the wrong place.
setDefaultTimeout(10_000);
// A file that takes minutes costs them only where it is asked for.
skipLongSpecs();
// `kpi test` has one for all of its parts.
const temporary = ownSuite() === undefined ? makeTestDirectory(kpiPaths().state) : undefined;
if (temporary !== undefined) process.env["TMPDIR"] = temporary.path;
onInterrupt(async (why) => (await import("./kit/leave.ts")).leave(why)); // most runs need none of what it loads
// After the last file of all; where files run side by side, after each.
afterAll(async () => {
  try {
    await end();
  } finally {
    temporary?.[Symbol.dispose]();
  }
}, 180_000);
