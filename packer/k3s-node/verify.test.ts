// The teeth of scripts/verify.sh: each kind of dirt in an otherwise clean tree makes it fail, by name.
import { afterAll, beforeEach, expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { run } from "../../harness/tools/exec.ts";

const work = mkdtempSync(join(tmpdir(), "verify-"));
const root = join(work, "image");
const packages = ["curl", "qemu-guest-agent"];

function put(path: string, content = "x\n"): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), content);
}

function drop(path: string): void {
  rmSync(join(root, path), { recursive: true });
}

function installed(names: readonly string[]): void {
  const entry = (name: string) =>
    `Package: ${name}\nStatus: install ok installed\nArchitecture: all\nVersion: 1\nMaintainer: x\nDescription: x\n`;
  put("var/lib/dpkg/status", names.map(entry).join("\n"));
}

async function verify(): Promise<{ code: number; stdout: string; faults: string[] }> {
  const result = await run(join(import.meta.dir, "scripts/verify.sh"), [root], {
    env: { KPI_PACKAGES: packages.join(" ") },
    accept: [0, 1],
  });
  const faults = result.stderr.split("\n").filter((line) => line !== "" && !line.includes("fault(s)"));
  return { code: result.code, stdout: result.stdout, faults };
}

beforeEach(() => {
  rmSync(root, { recursive: true, force: true });
  put("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/:/usr/sbin/nologin\n");
  put("etc/shadow", "root:*:20000:0:99999:7:::\nnobody:!:20000::::::\n");
  put("etc/machine-id", "");
  put("etc/cloud/cloud.cfg.d/99-k3s-node.cfg");
  put("etc/ssh/sshd_config.d/05-k3s-node.conf");
  put("etc/systemd/system/qemu-guest-agent.service.d/05-k3s-node.conf");
  put("usr/share/k3s-node/manifest.txt");
  put("var/log/dpkg.log", "");
  mkdirSync(join(root, "var/lib/dbus"), { recursive: true });
  symlinkSync("/etc/machine-id", join(root, "var/lib/dbus/machine-id"));
  installed([...packages, "bash"]);
});
afterAll(() => rmSync(work, { recursive: true, force: true }));

test("a clean tree passes", async () => {
  const { code, stdout, faults } = await verify();
  expect(faults).toEqual([]);
  expect(stdout).toMatch(/^verify: clean, \d+ checks$/);
  expect(code).toBe(0);
});

const dirt: readonly [fault: string, make: () => void][] = [
  ["machine-id is not empty: /etc/machine-id", () => put("etc/machine-id", "0123456789abcdef0123456789abcdef\n")],
  ["machine-id is absent, it must be an empty file: /etc/machine-id", () => drop("etc/machine-id")],
  [
    "machine-id of D-Bus left: /var/lib/dbus/machine-id",
    () => {
      drop("var/lib/dbus/machine-id");
      put("var/lib/dbus/machine-id");
    },
  ],
  ["netplan file left: /etc/netplan/50-cloud-init.yaml", () => put("etc/netplan/50-cloud-init.yaml")],
  [
    "network file of cloud-init left: /etc/systemd/network/10-cloud-init-ens3.network",
    () => put("etc/systemd/network/10-cloud-init-ens3.network"),
  ],
  ["ssh host key left: /etc/ssh/ssh_host_ed25519_key", () => put("etc/ssh/ssh_host_ed25519_key")],
  ["ssh key or known host of a user left: /root/.ssh", () => put("root/.ssh/authorized_keys")],
  ["ssh key or known host of a user left: /home/ubuntu/.ssh", () => put("home/ubuntu/.ssh/authorized_keys")],
  ["shell history left: /root/.bash_history", () => put("root/.bash_history")],
  ["sudo rule of the build left: /etc/sudoers.d/90-cloud-init-users", () => put("etc/sudoers.d/90-cloud-init-users")],
  ["cloud-init state left: /var/lib/cloud/instance", () => put("var/lib/cloud/instance/boot-finished")],
  ["cloud-init log left: /var/log/cloud-init.log", () => put("var/log/cloud-init.log", "")],
  ["cloud-init is disabled: /etc/cloud/cloud-init.disabled", () => put("etc/cloud/cloud-init.disabled", "")],
  ["package list left: /var/lib/apt/lists/lock", () => put("var/lib/apt/lists/lock", "")],
  ["k3s state left: /etc/rancher", () => put("etc/rancher/node/password")],
  ["DHCP lease left: /var/lib/dhcp/dhclient.leases", () => put("var/lib/dhcp/dhclient.leases")],
  ["random seed left: /var/lib/systemd/random-seed", () => put("var/lib/systemd/random-seed")],
  ["log left: /var/log/dpkg.log", () => put("var/log/dpkg.log")],
  ["user left: ubuntu", () => put("etc/passwd", "ubuntu:x:1000:1000::/home/ubuntu:/bin/bash\n")],
  ["password set or empty for user: root", () => put("etc/shadow", "root:$y$j9T$abc:20000::::::\n")],
  ["password set or empty for user: root", () => put("etc/shadow", "root::20000::::::\n")],
  [
    "file missing: /etc/systemd/system/qemu-guest-agent.service.d/05-k3s-node.conf",
    () => drop("etc/systemd/system/qemu-guest-agent.service.d/05-k3s-node.conf"),
  ],
  ["file missing: /usr/share/k3s-node/manifest.txt", () => drop("usr/share/k3s-node/manifest.txt")],
  ["package missing: qemu-guest-agent", () => installed(["curl"])],
];
test.each(dirt)("%s", async (fault, make) => {
  make();
  const { code, faults } = await verify();
  expect(code).toBe(1);
  expect(faults).toContain(`verify: ${fault}`);
});

test("every fault is named, not only the first", async () => {
  put("etc/netplan/50-cloud-init.yaml");
  put("etc/ssh/ssh_host_rsa_key");
  installed([]);
  expect((await verify()).faults).toEqual([
    "verify: netplan file left: /etc/netplan/50-cloud-init.yaml",
    "verify: ssh host key left: /etc/ssh/ssh_host_rsa_key",
    "verify: package missing: curl",
    "verify: package missing: qemu-guest-agent",
  ]);
});
