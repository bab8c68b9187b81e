import { expect, test } from "bun:test";
import { accessSync, chmodSync, constants, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../tools/exec.ts";
import { mayPass, payload, probeAccelerator } from "./accelerator.ts";

const assembler = Bun.which("as") !== null && Bun.which("ld") !== null;

test.each([
  ["QEMU gives up (failed to set MSR 0x10a to 0xc000069)", false],
  ["/dev/kvm cannot be opened (EACCES)", false],
  ["QEMU gives up (ioctl(KVM_CREATE_VM) failed: 16 Device or resource busy)", true],
  ["QEMU gives up (ioctl(KVM_CREATE_VM) failed: 12 Cannot allocate memory)", true],
  ["a 64-bit boot sector hangs for 8.0s", true],
  ["QEMU was ended by SIGKILL", true],
])("%s: may pass is %p", (refusal, passing) => {
  expect(mayPass(refusal)).toBe(passing);
});

const mayOpenKvm = (() => {
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
})();

test.skipIf(!mayOpenKvm)(
  "a failure of KVM that may pass is believed for a while, and any other as long as the machine is the same",
  async () => {
    const dir = mkdtempSync(join(tmpdir(), "kpi-probe-"));
    const at = (name: string) => join(dir, name);
    const { PATH } = process.env;
    mkdirSync(at("bin"));
    const say = (kvm: string) => {
      const kvms = `echo >> '${at("asked")}'; ${kvm}`;
      const script = `case "$*" in --version) echo QEMU;; *"-accel kvm"*) ${kvms};; *) exit 85;; esac`;
      writeFileSync(at("bin/qemu-system-x86_64"), `#!/bin/sh\n${script}\n`);
      chmodSync(at("bin/qemu-system-x86_64"), 0o755);
    };
    const asked = () => readFileSync(at("asked"), "utf8").length;
    const answer = join(dir, "accelerator", "answer.json");
    const due = () => writeFileSync(answer, JSON.stringify({ ...JSON.parse(readFileSync(answer, "utf8")), again: 1 }));
    const probe = () => probeAccelerator({ cache: dir });
    process.env["PATH"] = `${at("bin")}:${PATH}`;
    try {
      say("echo 'error: ioctl failed: Device or resource busy' >&2; exit 1");
      const first = await probe();
      expect(first).toMatchObject({ accelerator: "tcg", proof: expect.stringContaining("busy") });
      expect(await probe()).toEqual(first);
      expect(asked()).toBe(1);
      due();
      expect(await probe()).toEqual(first); // its counter, too: it is not measured again
      await probe();
      expect(asked()).toBe(2);
      due();
      say("echo 'error: failed to set MSR' >&2; exit 1");
      expect((await probe()).proof).toContain("MSR");
      expect(JSON.parse(readFileSync(answer, "utf8")).again).toBeUndefined();
      due();
      say("exit 85");
      expect((await probe()).accelerator).toBe("kvm");
      await probe();
      expect(asked()).toBe(4);
    } finally {
      process.env["PATH"] = PATH;
      rmSync(dir, { recursive: true });
    }
  },
);

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
