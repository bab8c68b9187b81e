import { expect, test } from "bun:test";
import { join } from "node:path";
import { projectRoot } from "../core/paths.ts";
import { type Host, type Plan, planCluster } from "../core/plan.ts";
import { loadSpec } from "../core/spec.ts";
import { blocking, judge, renderDoctor, withFreed } from "./doctor.ts";
import { readMemory } from "./capacity.ts";
import { type Facts, readAptTargets, readOs } from "./doctor-facts.ts";
import { describeFixes } from "./doctor-fix.ts";
import { type HypervisorFacts, readLook, readInfo } from "./doctor-hypervisor.ts";
import { aptProgress, installable, sourceText } from "./doctor-packages.ts";
import { tools } from "./doctor-programs.ts";

const os = (id: string, version: string, codename: string, like = "") =>
  readOs(
    `ID=${id}\nVERSION_ID="${version}"\nVERSION_CODENAME=${codename}\nID_LIKE=${like}\nPRETTY_NAME="${`${id} ${version}`.trim()}"\n`,
  );
const plan = async (spec: string, host: Host): Promise<Plan> =>
  planCluster(await loadSpec(join(projectRoot, "specs", spec)), host);
const lab = await plan("lab.yaml", { kind: "lab" });
const uri = "qemu+ssh://ops@hypervisor/system";
const system = await plan("kpi.yaml", { kind: "libvirt", uri });

/** What `gatherFacts` gave on a machine as the installer leaves it, with nothing of ours. */
const bare: Facts = {
  host: { kind: "lab" },
  os: os("debian", "12", "bookworm"),
  root: true,
  tools: Object.fromEntries(
    ["unshare", "nsenter", "setpriv", "mke2fs", "sfdisk"].map((id) => [
      id,
      { path: `/usr/bin/${id}`, version: "2.38.1" },
    ]),
  ),
  memory: { totalMiB: 24_000, availableMiB: 22_000 },
  cpus: 2,
  disk: { cacheGiB: 200, stateGiB: 200 },
  namespaces: { works: true },
  network: { works: false, why: "unshare: failed to execute ip: No such file or directory" },
  loopback: { works: true },
  inotifyInstances: 128,
  archive: "http://archive.example/debian/",
  backports: false,
};
const all = Object.fromEntries(tools.map(({ id }) => [id, { path: `/usr/bin/${id}`, version: "12.0" }]));
/** This machine, after `doctor --fix`: no KVM that boots anything. */
const emulated: Facts = {
  ...bare,
  tools: all,
  network: { works: true },
  backports: true,
  accelerator: { accelerator: "tcg", cpuModel: "qemu64", proof: "no KVM: a 64-bit boot sector hangs for 8.0s" },
};
const hypervisor: HypervisorFacts = {
  uri,
  ssh: "ops@hypervisor",
  libvirt: { works: true },
  root: false,
  user: "ops",
  home: "/home/ops",
  groups: ["ops", "kvm", "libvirt"],
  kvm: true,
  cpus: 24,
  availableMiB: 60_000,
  freeGiB: 400,
  settings: { listen_tls: "0", listen_tcp: "0", unix_sock_group: "libvirt", unix_sock_rw_perms: "0770" },
  pool: { name: "libvirt_images", defined: true, running: true, autostart: true },
  network: { name: "default", defined: true, running: true, autostart: true },
};
const noble: Facts = {
  ...emulated,
  host: { kind: "libvirt", uri },
  os: os("ubuntu", "24.04", "noble", "debian"),
  root: false,
  backports: false,
  hypervisor,
};
const titles = (facts: Facts, on: Plan) => blocking(judge(facts, on)).map(({ title }) => title);

test("a bare Debian 12 lacks packages, and all of it can be mended", () => {
  const bad = blocking(judge(bare, lab));
  expect(bad.map(({ title }) => title)).toContain("qemu");
  expect(bad.filter(({ fix }) => fix?.automatic !== true).map(({ title }) => title)).toEqual([]);
  const fixes = describeFixes(judge(bare, lab));
  expect(fixes[0]).toStartWith(
    "newer packages: printf 'Types: deb\\nURIs: http://archive.example/debian/\\nSuites: bookworm-backports",
  );
  expect(fixes.at(-1)).toMatch(/^install qemu-system-x86 seabios ipxe-qemu qemu-utils libvirt-daemon .* packer /);
  expect(renderDoctor(judge(bare, lab))).toContain(
    "apt-get install -y --no-install-recommends -t bookworm-backports mmdebstrap",
  );
});

test("without root, or without an archive, it says what a person must do", () => {
  const bad = blocking(judge({ ...bare, root: false }, lab));
  expect(bad.every(({ fix }) => fix?.automatic === false)).toBe(true);
  const untried = { works: false, why: "Operation not permitted" };
  expect(titles({ ...emulated, root: false, namespaces: untried, network: untried }, lab)).toEqual(["root"]);
  const { archive: _none, ...lost } = bare;
  const backports = judge(lost, lab).find(({ id }) => id === "backports");
  expect(backports?.fix).toMatchObject({ automatic: false });
});

test("an emulating machine with everything installed is ready, and says that KVM is not there", () => {
  expect(titles(emulated, lab)).toEqual([]);
  const text = renderDoctor(judge(emulated, lab));
  expect(text).toMatch(
    /^wrong {4}KVM +no KVM: a 64-bit boot sector hangs for 8.0s\n {9}not needed here, but: without it/m,
  );
  expect(text).toEndWith("this machine can run a cluster\n");
});

test("an old QEMU is wrong, not missing", () => {
  const old = { ...emulated, tools: { ...all, qemu: { path: "/usr/bin/qemu-system-x86_64", version: "7.2.9" } } };
  expect(blocking(judge(old, lab))).toMatchObject([{ title: "qemu", outcome: "wrong", seen: "7.2.9, older than 8.0" }]);
});

test("too little memory names what is needed and what is there", () => {
  const small = { ...emulated, memory: { totalMiB: 4_096, availableMiB: 2_048 } };
  expect(blocking(judge(small, lab))).toMatchObject([{ title: "memory, cores, disk", outcome: "wrong" }]);
  expect(blocking(judge(small, lab))[0]?.seen).toMatch(/^memory: needs [\d.]+ GiB, 2 GiB are there$/);
  const freed = withFreed(small, { memoryMiB: 4_096, diskGiB: 0 }); // by the cluster that goes before
  expect(blocking(judge(freed, lab))).toEqual([]);
});

test("on a libvirt of this machine's own, too, the disks of the cluster that goes before count as free", () => {
  const { ssh: _, ...here } = hypervisor;
  const memory = { totalMiB: 65_536, availableMiB: 65_536 };
  const full = { ...noble, memory, cpus: 16, hypervisor: { ...here, pool: { ...here.pool, availableGiB: 30 } } };
  expect(blocking(judge(full, system))).toMatchObject([{ seen: "disk: needs 120 GiB, 30 GiB are there" }]);
  expect(blocking(judge(withFreed(full, { memoryMiB: 0, diskGiB: 95 }), system))).toEqual([]);
});

test("an Ubuntu hypervisor as platform.md wants it is ready; nothing of a lab is asked for", () => {
  expect(titles(noble, system)).toEqual([]);
  expect(judge(noble, system).map(({ id }) => id)).not.toContain("dnsmasq");
});

test("a hypervisor's faults come with commands for it", () => {
  const faulty: HypervisorFacts = {
    ...hypervisor,
    groups: ["ops", "kvm"],
    settings: { ...hypervisor.settings, listen_tcp: "1" },
    pool: { name: "libvirt_images", defined: false, running: false, autostart: false },
    network: { name: "default", defined: true, running: false, autostart: true },
  };
  const fix = (id: string) =>
    judge({ ...noble, hypervisor: faulty }, system).find((check) => check.id === id)?.fix?.command;
  expect(fix("groups")).toBe("ssh -t ops@hypervisor 'sudo usermod -aG libvirt ops'   # then log in again");
  expect(fix("libvirtd settings")).toContain("listen_tcp = 0");
  expect(fix("libvirtd settings")).toContain("(listen_tcp) *=/d");
  expect(fix("libvirt network")).toBe(`virsh -c ${uri} net-start default`);
  expect(fix("pool")).toBe(
    `virsh -c ${uri} pool-define-as libvirt_images dir --target /home/ops/libvirt_images && ` +
      ["pool-build", "pool-start", "pool-autostart"]
        .map((verb) => `virsh -c ${uri} ${verb} libvirt_images`)
        .join(" && "),
  );
});

test("a bare Ubuntu that is to be the hypervisor gets its own libvirtd, a stopped one is started by hand", () => {
  const local = { kind: "libvirt" as const, uri: "qemu:///system" };
  const { ssh: _none, ...here } = {
    ...hypervisor,
    uri: local.uri,
    root: true,
    libvirt: { works: false as const, why: "no socket" },
  };
  const facts: Facts = { ...bare, host: local, os: noble.os, hypervisor: here };
  const fix = (of: Facts) => judge(of, system).find(({ id }) => id === "libvirt")?.fix;
  expect(fix(facts)?.packages).toContain("libvirt-daemon-system");
  expect(fix({ ...facts, tools: all })).toEqual({ command: "systemctl enable --now libvirtd", automatic: false });
});

test("an unknown distribution is told to install by itself", () => {
  const arch: Facts = { ...bare, os: os("arch", "", "") };
  const qemu = judge(arch, lab).find(({ id }) => id === "qemu");
  expect(qemu?.fix).toEqual({
    command: "# install qemu-system-x86_64 yourself: kpi knows no packages of arch",
    automatic: false,
  });
});

test("room is judged where the machines will be: on another machine it is told, and not insisted on", () => {
  const room = (facts: Facts) => judge(facts, system).find(({ id }) => id === "room");
  expect(room(noble)).toMatchObject({ outcome: "ok", seen: "58.6 GiB memory, 24 cores, 400 GiB disk free" });
  const small = { ...hypervisor, availableMiB: 8_192, pool: { ...hypervisor.pool, availableGiB: 20 } };
  const seen = "memory: needs 31.6 GiB, 8 GiB are there; disk: needs 120 GiB, 20 GiB are there";
  expect(room({ ...noble, hypervisor: small })).toMatchObject({ outcome: "wrong", seen, needed: false });
  const { ssh: _, ...here } = hypervisor;
  const host = { kind: "libvirt", uri: "qemu:///system" } as const;
  expect(room({ ...noble, host, hypervisor: here, cpus: 4 })).toMatchObject({ outcome: "wrong", needed: true });
});

test("a missing tun device is made", () => {
  const network = { works: false as const, why: "open: /dev/net/tun: No such file or directory" };
  expect(judge({ ...emulated, network }, lab).find(({ id }) => id === "network")?.fix?.automatic).toBe(true);
});

test("reads what the system says", () => {
  const meminfo = "MemTotal: 2097152 kB\nMemAvailable: 1048576 kB\n";
  expect(readMemory(meminfo)).toEqual({ totalMiB: 2048, availableMiB: 1024 });
  const group = { limit: 2 ** 30, held: 2 ** 29, cache: 2 ** 28 };
  expect(readMemory(meminfo, group)).toEqual({ totalMiB: 1024, availableMiB: 768 });
  expect(readAptTargets("bookworm-updates|http://a/d/\nbookworm|http://a/d/\n", "bookworm")).toEqual({
    archive: "http://a/d/",
    backports: false,
  });
  const pool = "Name: x\nState:          running\nAutostart:      no\nAvailable:      1.50 TiB\n";
  expect(readInfo({ code: 0, stdout: pool })).toEqual({
    defined: true,
    running: true,
    autostart: false,
    availableGiB: 1_536,
  });
  for (const full of ["0.00 B", "812.00 KiB"])
    expect(readInfo({ code: 0, stdout: `Available:      ${full}\n` }).availableGiB).toBe(0);
  expect(
    readLook(
      "uid=0\nuser=root\nhome=/root\ngroups=root\ncpus=8\nmemory=2048\ndisk=2097152\nconf=readable\nset listen_tls=0",
    ),
  ).toEqual({
    root: true,
    user: "root",
    home: "/root",
    groups: ["root"],
    cpus: 8,
    availableMiB: 2,
    freeGiB: 2,
    settings: { listen_tls: "0" },
  });
});

test("knows what apt can install and how far it is", () => {
  const policy =
    "qemu-utils:\n  Installed: (none)\n  Candidate: 1:10\ngone:\n  Installed: (none)\n  Candidate: (none)\n";
  expect(installable(policy, ["qemu-utils", "gone", "unknown"])).toEqual(["qemu-utils"]);
  expect(aptProgress("pmstatus:qemu-utils:33.3:Unpacking qemu-utils (amd64)")).toEqual({
    what: "Unpacking qemu-utils (amd64)",
    percent: 33.3,
  });
  expect(aptProgress("Reading package lists...")).toBeUndefined();
  expect(sourceText("http://a/d/", "x-backports").split("\n")).toHaveLength(6);
});
