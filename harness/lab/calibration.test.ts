import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../tools/exec.ts";
import { bootSector, calibrationPayload } from "./calibration-payload.ts";

const assembler = Bun.which("as") !== null && Bun.which("ld") !== null;

test("the rounds stand where the payload reads them, before the boot signature", () => {
  const image = bootSector(0x01020304);
  expect(image.length).toBe(512);
  expect(image.subarray(506).toString("hex")).toBe("0403020155aa".slice(0, 8) + "55aa");
  expect(image.subarray(0, 506)).toEqual(calibrationPayload.subarray(0, 506));
});

test.skipIf(!assembler)("the payload is what its source says", async () => {
  const dir = mkdtempSync(join(tmpdir(), "kpi-payload-"));
  try {
    await run("as", ["--64", "-o", join(dir, "c.o"), join(import.meta.dir, "calibration.s")]);
    await run("ld", ["-Ttext", "0x7c00", "--oformat", "binary", "-o", join(dir, "c.bin"), join(dir, "c.o")]);
    expect(readFileSync(join(dir, "c.bin")).toString("hex")).toBe(calibrationPayload.toString("hex"));
  } finally {
    rmSync(dir, { recursive: true });
  }
});
