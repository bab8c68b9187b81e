import { afterAll, setDefaultTimeout } from "bun:test";
import { writeOwnResults } from "./kit/results.ts";

// `[test] timeout` in bunfig.toml has no effect in Bun 1.4; unit tests that need longer are in the wrong place.
setDefaultTimeout(10_000);
// After the last file of all.
afterAll(writeOwnResults, 60_000);
