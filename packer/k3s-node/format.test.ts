import { test } from "bun:test";
import { run } from "../../harness/tools/exec.ts";

const packer = Bun.which("packer");

test.if(packer !== null)(
  `the template is formatted${packer === null ? " (no packer on PATH to tell)" : ""}`,
  async () => {
    await run("packer", ["fmt", "-check", "-diff", import.meta.dir]);
  },
);
