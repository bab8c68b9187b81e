import { afterAll, setDefaultTimeout } from "bun:test";
import { end } from "./kit/results.ts";

// `[test] timeout` in bunfig.toml has no effect in Bun 1.4; unit tests that need longer are in the wrong place.
setDefaultTimeout(10_000);
afterAll(end, 180_000);
