import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Plan } from "../core/plan.ts";
import { run } from "../tools/exec.ts";
import { ClusterDir } from "./cluster.ts";
import { heldBy } from "./held.ts";

const dir = mkdtempSync(join(tmpdir(), "held-"));
const path = process.env["PATH"];
/** A virsh that knows one node of ours, and a machine of somebody else. */
beforeAll(() => {
  const domain = (name: string, mebibytes: number) =>
    `Domain: '${name}'\n state.state=1\n balloon.rss=${mebibytes * 1024}\n block.count=1\n block.0.physical=${3 * 2 ** 30}\n`;
  writeFileSync(join(dir, "stats"), `${domain("n1", 700)}\n${domain("mail", 4_000)}`);
  writeFileSync(join(dir, "virsh"), `#!/bin/sh\ncat ${dir}/stats\n`);
  chmodSync(join(dir, "virsh"), 0o755);
  process.env["PATH"] = `${dir}:${path}`;
});
afterAll(() => {
  process.env["PATH"] = path;
  rmSync(dir, { recursive: true, force: true });
});

test.each([
  ["qemu:///system", 700, 3],
  ["qemu+ssh://root@elsewhere/system", 0, 0],
])("of a cluster on %s this machine gets %p MiB and %p GiB back", async (uri, memoryMiB, diskGiB) => {
  const cluster = new ClusterDir(join(dir, "state"), "one");
  const plan = { cluster: "one", host: { kind: "libvirt", uri }, nodes: [{ name: "n1" }, { name: "n2" }] };
  cluster.write({ plan: plan as unknown as Plan, spec: "", phase: "ready", run: "", image: "", since: "" });
  expect(await heldBy(cluster)).toEqual({ memoryMiB, diskGiB });
});

test("of a lab that does not run any more, as after a reboot, its files still go", async () => {
  const cluster = new ClusterDir(join(dir, "state"), "dead");
  const plan = { cluster: "dead", host: { kind: "lab" }, nodes: [{ name: "n1" }] };
  cluster.write({ plan: plan as unknown as Plan, spec: "", phase: "ready", run: "", image: "", since: "" });
  mkdirSync(cluster.labDir, { recursive: true });
  await run("fallocate", ["-l", "1GiB", join(cluster.labDir, "disk")]);
  expect(await heldBy(cluster)).toEqual({ memoryMiB: 0, diskGiB: 1 });
});

test("one that is not there holds nothing", async () => {
  expect(await heldBy(new ClusterDir(join(dir, "state"), "none"))).toEqual({ memoryMiB: 0, diskGiB: 0 });
});
