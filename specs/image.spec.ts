import { expect, useCluster } from "../harness/kit.ts";

const cluster = useCluster("specs/lab.yaml");
const GiB = 2 ** 30;

cluster.expects("image", "the image is the one that was built and verified, unchanged", ({ seen, plan }) => {
  expect(seen.name).toBe(plan.image.name);
  expect(seen.sha256Now, "sha256 of the image file").toBe(seen.sha256);
});

/** What a node needs whatever packer/k3s-node promises: an image that promises less is still built, and keeps its promise. */
const required = [
  ...["cloud-init", "qemu-guest-agent", "curl", "wget", "openssh-server", "sudo"],
  ...["iproute2", "iputils-ping", "bind9-dnsutils", "iptables", "tcpdump", "ethtool", "netcat-openbsd"], // network tools
];

cluster.expects("image", "cloud-init, the guest agent, ssh, curl, wget and the network tools are in it", ({ seen }) => {
  expect(
    required.filter((name) => !seen.packages.includes(name)),
    "packages that every node needs",
  ).toEqual([]);
});

cluster.expects("image", "every promised package is in it", ({ seen }) => {
  expect(seen.promised.length, "promised packages").toBeGreaterThan(15);
  expect(
    seen.promised.filter((name) => !seen.packages.includes(name)),
    "missing packages",
  ).toEqual([]);
});

cluster.expects("image", "its machine-id is empty, not absent: every clone gets its own", ({ seen }) => {
  expect(
    seen.directories["/etc"]?.find(({ name }) => name === "machine-id"),
    "/etc/machine-id",
  ).toMatchObject({ size: 0 });
});

cluster.expects("image", "no ssh host key and no network configuration is left in it", ({ seen }) => {
  const names = (path: string) => seen.directories[path]?.map(({ name }) => name) ?? [];
  expect(
    names("/etc/ssh").filter((name) => name.startsWith("ssh_host_")),
    "host keys",
  ).toEqual([]);
  expect([...names("/etc/netplan"), ...names("/etc/systemd/network")], "network files").toEqual([]);
});

cluster.expects("image", "no trace of cloud-init or of a boot is left in it", ({ seen }) => {
  const names = (path: string) => seen.directories[path]?.map(({ name }) => name) ?? [];
  expect(names("/var/lib/cloud"), "cloud-init's state").toEqual([]);
  expect(
    names("/var/log").filter((name) => name.startsWith("cloud-init")),
    "cloud-init's logs",
  ).toEqual([]);
  expect(names("/var/log/journal"), "journals").toEqual([]);
  expect(
    names("/var/lib/systemd").filter((name) => name === "random-seed"),
    "random seed",
  ).toEqual([]);
});

cluster.expects("image", "no user, no key, no k3s, no lease and no package list is left in it", ({ seen }) => {
  const names = (path: string) => seen.directories[path]?.map(({ name }) => name) ?? [];
  const left = ["/home", "/etc/rancher", "/var/lib/rancher", "/var/lib/dhcp", "/var/lib/apt/lists"].flatMap((path) =>
    names(path).map((name) => `${path}/${name}`),
  );
  expect(left, "left behind").toEqual([]);
  expect(
    names("/root").filter((name) => /^\.(ssh|.*_history)$/.test(name)),
    "in /root",
  ).toEqual([]);
});

cluster.expects("image", "it is small", ({ seen }) => {
  expect(seen.bytes, "bytes").toBeLessThan(1 * GiB);
});

cluster.expects(
  "image",
  "every node's disk is a thin copy-on-write clone of it, as large as planned",
  ({ seen, plan }) => {
    expect(seen.base.sha256, "sha256 of the base volume").toBe(seen.sha256);
    for (const { name, diskGiB } of plan.nodes) {
      const disk = seen.disks[name];
      expect(disk?.format, `format of ${name}'s disk`).toBe("qcow2");
      expect(disk?.below.at(-1) ?? "nothing", `at the bottom of ${name}'s disk`).toEndWith(`/${seen.base.path}`);
      expect(disk?.virtualSize, `size of ${name}'s disk`).toBe(diskGiB * GiB);
      expect(disk?.actualSize, `bytes that ${name}'s disk takes`).toBeLessThan((diskGiB * GiB) / 2);
    }
  },
);

cluster.eachNode("machine", "the root file system has grown to the planned disk", ({ seen, node }) => {
  expect(seen.diskBytes, "bytes of the disk").toBe(node.diskGiB * GiB);
  expect(seen.rootBytes, "bytes of the root file system").toBeGreaterThan(node.diskGiB * GiB * 0.93);
});

cluster.eachNode("install", "the node has the planned processors and memory", ({ seen, node }) => {
  expect(seen.cpus, "processors").toBe(node.cpus);
  expect(seen.memoryMiB, "MiB of memory").toBeWithin(node.memoryMiB);
  expect(seen.memoryMiB, "MiB of memory").toBeGreaterThan(node.memoryMiB * 0.85);
});

cluster.eachNode("machine", "cloud-init took its seed from the disk and made no error", ({ seen }) => {
  expect(seen.cloudInit.datasource, "data source").toStartWith("DataSourceNoCloud");
  expect(seen.cloudInit.errors, "errors of cloud-init").toEqual([]);
});
