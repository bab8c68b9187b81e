import { afterAll, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KpiError } from "../core/errors.ts";
import type { Progress } from "../core/event.ts";
import { findProgram } from "./environment.ts";
import { packerBuild, packerVersion, readPackerLine } from "./packer.ts";

/** Lines of a real build that failed in verify.sh, Packer 1.6.6. */
const recorded = String.raw`1795411954,,ui,say,==> qemu.node: Retrieving ISO
1795411956,,ui,say,==> qemu.node: Creating CD disk...
1795411959,,ui,say,==> qemu.node: Starting VM%!(PACKER_COMMA) booting disk image
1795411961,,ui,say,==> qemu.node: Waiting for SSH to become available...
1795412090,,ui,say,==> qemu.node: Connected to SSH!
1795412090,,ui,say,==> qemu.node: Provisioning with shell script: /k3s-node/scripts/setup.sh
1795412091,,ui,message,    qemu.node: setup: packages
1795412115,,ui,say,==> qemu.node: Downloading /usr/share/k3s-node/manifest.txt => /out/manifest.txt
1795412116,,ui,say,==> qemu.node: Provisioning with shell script: /k3s-node/scripts/verify.sh
1795412116,,ui,error,==> qemu.node: verify: package list left: /var/lib/apt/lists/lock
1795412119,,ui,error,==> qemu.node: verify: 1 fault(s)%!(PACKER_COMMA) the image is not fit for cloning
1795412119,,error-count,1
1795412119,,ui,error,\n==> Some builds didn't complete successfully and had errors:
1795412119,qemu.node,error,Script exited with non-zero exit status: 1.`;

const dir = mkdtempSync(join(tmpdir(), "kpi-packer-test-"));
afterAll(() => rmSync(dir, { recursive: true }));

/** A program that records how it was called and answers as recorded. */
function fake(name: string, body: string): string {
  const path = join(dir, name);
  writeFileSync(path, `#!/bin/sh\n${body}\n`);
  chmodSync(path, 0o755);
  return path;
}

test("reads what Packer says to people, and nothing else", () => {
  const lines = recorded.split("\n").map(readPackerLine);
  expect(lines[2]).toEqual({ kind: "say", text: "Starting VM, booting disk image" });
  expect(lines[6]).toEqual({ kind: "message", text: "setup: packages" });
  expect(lines[11]).toBeUndefined();
  expect(lines[13]).toBeUndefined();
});

test("tells its steps and ends with Packer's own errors", async () => {
  writeFileSync(join(dir, "said"), recorded);
  const command = fake("packer", `cd '${dir}'; printf '%s\\n' "$@" > called; env > env; cat said; exit 1`);
  const steps: Progress[] = [];
  const error = await packerBuild({
    command,
    template: "/k3s-node",
    variables: { image_name: "image.qcow2", cpus: 2 },
    work: dir,
    log: join(dir, "packer.log"),
    onProgress: (step) => steps.push(step),
  }).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(KpiError);
  expect((error as KpiError).details.slice(0, 2)).toEqual([
    "verify: package list left: /var/lib/apt/lists/lock",
    "verify: 1 fault(s), the image is not fit for cloning",
  ]);
  expect(steps.map(({ what }) => what)).toEqual([
    "checking the source image",
    "making the seed disc",
    "starting the build machine",
    "waiting for its first boot",
    "setting up",
    "setup: packages",
    "fetching the package list",
    "verifying",
  ]);
  expect(steps.at(-1)).toMatchObject({ done: 8, total: 10 });
  const called = readFileSync(join(dir, "called"), "utf8").trim().split("\n");
  expect(called).toEqual([
    "build",
    "-machine-readable",
    "-var",
    "image_name=image.qcow2",
    "-var",
    "cpus=2",
    "/k3s-node",
  ]);
  expect(readFileSync(join(dir, "env"), "utf8")).toContain("TMPDIR=.\n");
});

test("finds the version of either kind of answer", async () => {
  expect(await packerVersion(fake("old", "echo Packer v1.6.6"))).toBe("1.6.6");
  const newer = fake("new", "printf 'Packer v1.11.2\\n\\nYour version of Packer is out of date!'");
  expect(await packerVersion(newer)).toBe("1.11.2");
  expect(await packerVersion(fake("none", "echo hello")).catch((error: unknown) => error)).toMatchObject({
    kind: "contract",
  });
});

test.skipIf(findProgram("packer") === undefined)(
  "asked for its version, it leaves nothing, whenever it is ended",
  async () => {
    const own = mkdtempSync(join(dir, "tmp-"));
    const { TMPDIR: before } = process.env;
    process.env["TMPDIR"] = own;
    try {
      for (let after = 20; after <= 80; after += 4) {
        const asked = packerVersion("packer", AbortSignal.timeout(after)); // whatever it is doing by then
        await asked.catch(() => {});
      }
      expect(await packerVersion("packer")).toMatch(/^\d+\.\d+\.\d+$/);
    } finally {
      process.env["TMPDIR"] = before;
    }
    expect(readdirSync(own)).toEqual([]);
  },
);
