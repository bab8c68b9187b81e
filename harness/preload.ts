import { afterAll, setDefaultTimeout } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { kpiPaths } from "./core/paths.ts";
import { skipLongSpecs } from "./kit/long.ts";
import { end } from "./kit/results.ts";
import { onInterrupt } from "./run/interrupt.ts";
import { declare } from "./run/journal.ts";
import { mayRunPrograms } from "./tools/directory.ts";

// `[test] timeout` in bunfig.toml has no effect in Bun 1.4; unit tests that need longer are in the wrong place.
setDefaultTimeout(10_000);
// A file that takes minutes costs them only where it is asked for.
skipLongSpecs();
// Files make directories when they are loaded, and of a file whose tests are all filtered out no hook runs: so they lie in one that goes.
// Tests run programs that they write there: where the system's directory does not allow that, it lies with our state.
const { state } = kpiPaths();
const place = mayRunPrograms(tmpdir()) ? tmpdir() : state;
mkdirSync(place, { recursive: true, mode: 0o700 });
const temporary = mkdtempSync(join(place, "kt-"));
const intent = declare(state, { kind: "path", path: temporary });
process.env["TMPDIR"] = temporary;
onInterrupt(async (why) => (await import("./kit/leave.ts")).leave(why)); // most runs need none of what it loads
// After the last file of all.
afterAll(async () => {
  try {
    await end();
  } finally {
    rmSync(temporary, { recursive: true, force: true });
    intent.settle();
  }
}, 180_000);
