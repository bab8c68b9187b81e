import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../tools/exec.ts";
import { payload } from "./accelerator.ts";

const assembler = Bun.which("as") !== null && Bun.which("ld") !== null;

test("the payload is a boot sector", () => {
  expect(payload.length).toBe(512);
  expect(payload.subarray(510).toString("hex")).toBe("55aa");
});

test.skipIf(!assembler)("the payload is what its source says", async () => {
  const dir = mkdtempSync(join(tmpdir(), "kpi-payload-"));
  try {
    await run("as", ["--64", "-o", join(dir, "probe.o"), join(import.meta.dir, "accelerator.s")]);
    await run("ld", ["-Ttext", "0x7c00", "--oformat", "binary", "-o", join(dir, "probe.bin"), join(dir, "probe.o")]);
    expect(readFileSync(join(dir, "probe.bin")).toString("hex")).toBe(payload.toString("hex"));
  } finally {
    rmSync(dir, { recursive: true });
  }
});
