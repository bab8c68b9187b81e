import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** For tests: a directory that is removed with its scope. */
export function scratch(): Disposable & { readonly dir: string } {
  const dir = mkdtempSync(join(tmpdir(), "scratch-"));
  return { dir, [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }) };
}
