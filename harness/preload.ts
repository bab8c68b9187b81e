import { setDefaultTimeout } from "bun:test";

// `[test] timeout` in bunfig.toml has no effect in Bun 1.4; unit tests that need longer are in the wrong place.
setDefaultTimeout(10_000);
