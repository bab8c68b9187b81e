import { mutant } from "../../harness/kit/teeth.ts";

const worker = "k3s-worker-01";
const clean = "no trace of cloud-init or of a boot is left in it";
const empty = "no user, no key, no k3s, no lease and no package list is left in it";
const keys = "no ssh host key and no network configuration is left in it";
const clones = "every node's disk is a thin copy-on-write clone of it, as large as planned";
const machineId = "its machine-id is empty, not absent: every clone gets its own";
const hardware = "the node has the planned processors and memory";
const file = (name: string, size = 10) => ({ name, mode: "100644", size });

/** Puts a file into a directory of the image. */
const left = (path: string, name: string) => (seen: { directories: Record<string, unknown> }) => {
  seen.directories[path] = [...((seen.directories[path] as object[] | undefined) ?? []), file(name)];
};

export const mutants = [
  mutant(
    "image",
    "the image was changed after it was built",
    { "the image is the one that was built and verified, unchanged": /sha256 of the image file[^]*0{64}/ },
    (seen) => {
      seen.sha256Now = "0".repeat(64);
    },
  ),
  mutant(
    "image",
    "another image",
    { "the image is the one that was built and verified, unchanged": /other-image/ },
    (seen) => {
      seen.name = "other-image";
    },
  ),
  mutant(
    "image",
    "a promised package is missing",
    { "every promised package is in it": /missing packages[^]*socat/ },
    (seen) => {
      seen.packages = seen.packages.filter((name) => name !== "socat");
    },
  ),
  mutant(
    "image",
    "the guest agent is neither promised nor there",
    {
      "cloud-init, the guest agent, ssh, curl, wget and the network tools are in it":
        /packages that every node needs[^]*qemu-guest-agent/,
    },
    (seen) => {
      seen.promised = seen.promised.filter((name) => name !== "qemu-guest-agent");
      seen.packages = seen.packages.filter((name) => name !== "qemu-guest-agent");
    },
  ),
  mutant("image", "nothing is promised", { "every promised package is in it": /promised packages/ }, (seen) => {
    seen.promised = [];
  }),
  mutant("image", "a machine-id is in the image", { [machineId]: /machine-id[^]*33/ }, (seen) => {
    seen.directories["/etc"]!.find(({ name }) => name === "machine-id")!.size = 33;
  }),
  mutant("image", "the machine-id's file is absent", { [machineId]: /machine-id/ }, (seen) => {
    seen.directories["/etc"] = [];
  }),
  mutant(
    "image",
    "a host key is in the image",
    { [keys]: /host keys[^]*ssh_host_rsa_key/ },
    left("/etc/ssh", "ssh_host_rsa_key"),
  ),
  mutant(
    "image",
    "a netplan file is in the image",
    { [keys]: /network files[^]*50-cloud-init\.yaml/ },
    left("/etc/netplan", "50-cloud-init.yaml"),
  ),
  mutant(
    "image",
    "a networkd file is in the image",
    { [keys]: /network files[^]*10-cloud-init-eth0/ },
    left("/etc/systemd/network", "10-cloud-init-eth0.network"),
  ),
  mutant(
    "image",
    "cloud-init has run in the image",
    { [clean]: /cloud-init's state[^]*instance/ },
    left("/var/lib/cloud", "instance"),
  ),
  mutant(
    "image",
    "cloud-init's log is in the image",
    { [clean]: /cloud-init-output\.log/ },
    left("/var/log", "cloud-init-output.log"),
  ),
  mutant("image", "a journal is in the image", { [clean]: /journals/ }, left("/var/log/journal", "0123456789abcdef")),
  mutant("image", "a random seed is in the image", { [clean]: /random seed/ }, left("/var/lib/systemd", "random-seed")),
  mutant("image", "the build's user is in the image", { [empty]: /\/home\/packer/ }, left("/home", "packer")),
  mutant(
    "image",
    "k3s is in the image already",
    { [empty]: /\/var\/lib\/rancher\/k3s/ },
    left("/var/lib/rancher", "k3s"),
  ),
  mutant(
    "image",
    "a DHCP lease is in the image",
    { [empty]: /dhclient\.leases/ },
    left("/var/lib/dhcp", "dhclient.leases"),
  ),
  mutant("image", "root's keys are in the image", { [empty]: /in \/root[^]*\.ssh/ }, left("/root", ".ssh")),
  mutant("image", "the image is large", { "it is small": /bytes[^]*3221225472/ }, (seen) => {
    seen.bytes = 3 * 2 ** 30;
  }),
  mutant("image", "a disk is a full copy", { [clones]: /at the bottom of k3s-worker-01's disk/ }, (seen) => {
    seen.disks[worker]!.below = [];
  }),
  mutant("image", "a disk stands on another image", { [clones]: /\/other-base/ }, (seen) => {
    seen.disks[worker]!.below = ["/var/lib/libvirt/images/libvirt_images/other-base"];
  }),
  mutant("image", "a disk is raw", { [clones]: /format of k3s-worker-01's disk/ }, (seen) => {
    seen.disks[worker]!.format = "raw";
  }),
  mutant("image", "a disk is smaller than planned", { [clones]: /size of k3s-worker-01's disk/ }, (seen) => {
    seen.disks[worker]!.virtualSize = 2 ** 30;
  }),
  mutant(
    "image",
    "a disk takes all of its size at once",
    { [clones]: /bytes that k3s-worker-01's disk takes/ },
    (seen) => {
      seen.disks[worker]!.actualSize = seen.disks[worker]!.virtualSize;
    },
  ),
  mutant("image", "the base volume is not the image", { [clones]: /sha256 of the base volume/ }, (seen) => {
    seen.base.sha256 = "0".repeat(64);
  }),
  mutant(
    "machine",
    "the root file system did not grow",
    { "the root file system has grown to the planned disk": /k3s-worker-01: bytes of the root file system/ },
    (seen) => {
      seen.nodes[worker]!.rootBytes = 3 * 2 ** 30;
    },
  ),
  mutant("install", "a processor stays asleep", { [hardware]: /k3s-cp-01: processors/ }, (seen) => {
    seen.nodes["k3s-cp-01"]!.cpus = 1;
  }),
  mutant("install", "a node has less memory than planned", { [hardware]: /MiB of memory/ }, (seen) => {
    seen.nodes[worker]!.memoryMiB = 512;
  }),
  mutant(
    "machine",
    "the seed came from elsewhere",
    { "cloud-init took its seed from the disk and made no error": /data source[^]*DataSourceEc2/ },
    (seen) => {
      seen.nodes[worker]!.cloudInit.datasource = "DataSourceEc2";
    },
  ),
  mutant(
    "machine",
    "cloud-init made an error",
    { "cloud-init took its seed from the disk and made no error": /errors of cloud-init[^]*runcmd/ },
    (seen) => {
      seen.nodes[worker]!.cloudInit.errors.push("modules-final: 1 failures (runcmd) in 1 attempted commands");
    },
  ),
];
