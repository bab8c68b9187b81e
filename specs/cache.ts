import { mkdirSync, readdirSync, rmdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { kpiPaths, run } from "../harness/kit.ts";
import { type Declared, declare } from "../harness/run/journal.ts";

/**
 * A cache of a test's own with what this machine's holds, linked and not copied, so within it: TMPDIR may be another file system. There
 * when it is filled, so that a file whose tests are filtered out makes none; kpi reap removes that of a killed test.
 */
export class PrivateCache implements Disposable {
  readonly path = join(kpiPaths().cache, privateCaches, crypto.randomUUID().slice(0, 8));
  #intent: Declared | undefined;

  /** Links all but checkpoints, and the parts named. */
  async fill(without: readonly string[] = []): Promise<void> {
    const { cache, state } = kpiPaths();
    this.#intent = declare(state, { kind: "path", path: this.path });
    mkdirSync(this.path, { recursive: true, mode: 0o700 });
    const left = [...without, privateCaches, "checkpoints", "admission"];
    const parts = readdirSync(cache).filter((part) => !left.includes(part));
    await run("cp", ["-al", ...parts.map((part) => join(cache, part)), this.path]);
  }

  [Symbol.dispose](): void {
    if (this.#intent === undefined) return;
    rmSync(this.path, { recursive: true, force: true });
    this.#intent.settle();
    try {
      rmdirSync(dirname(this.path));
    } catch {
      // another test's lies there as well
    }
  }
}

const privateCaches = "private";
