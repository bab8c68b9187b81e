import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mayRunPrograms } from "../tools/directory.ts";
import { declare } from "./journal.ts";

/**
 * Makes the directory that tests have as TMPDIR; it goes when it is disposed of, and with the next command if this process is killed. Files
 * make directories when they are loaded, and of a file whose tests are all filtered out no hook runs: so they lie in one that goes.
 * Tests run programs that they write there: where the system's directory does not allow that, it lies with our state.
 */
export function makeTestDirectory(state: string): Disposable & { readonly path: string } {
  const place = mayRunPrograms(tmpdir()) ? tmpdir() : state;
  mkdirSync(place, { recursive: true, mode: 0o700 });
  const path = mkdtempSync(join(place, "kt-"));
  const intent = declare(state, { kind: "path", path });
  return {
    path,
    [Symbol.dispose]() {
      rmSync(path, { recursive: true, force: true });
      intent.settle();
    },
  };
}
