/** Where a tool is needed: for a lab on this machine, for a cluster behind a libvirt URI, for what is built here, or for `kpi test`. */
export type Place = "lab" | "libvirt" | "go" | "mmdebstrap" | "tests";

export interface Tool {
  readonly id: string;
  readonly why: string;
  readonly where: readonly Place[];
  /** Any of them will do. */
  readonly programs: readonly string[];
  /** In place of programs. */
  readonly files?: readonly string[];
  /** Arguments that make it tell its version. */
  readonly version?: readonly string[];
  readonly atLeast?: string;
  readonly tooOld?: string;
  /** Names in Debian and Ubuntu. */
  readonly packages: readonly string[];
  /** Where it comes from otherwise, so that its absence stops nothing. */
  readonly otherwise?: string;
}

const driver = (name: string) => `libvirt-daemon-driver-${name}`;

/** All outside programs that kpi calls, directly or through another one. */
export const tools: readonly Tool[] = [
  {
    id: "qemu",
    why: "runs the nodes; 7.2 panics newer kernels under emulation",
    where: ["lab", "libvirt"],
    programs: ["qemu-system-x86_64"],
    version: ["--version"],
    atLeast: "8.0",
    packages: ["qemu-system-x86", "seabios", "ipxe-qemu"],
  },
  {
    id: "qemu-img",
    why: "makes and converts disk images",
    where: ["lab", "libvirt"],
    programs: ["qemu-img"],
    version: ["--version"],
    packages: ["qemu-utils"],
  },
  {
    id: "libvirtd",
    why: "the lab's own daemon keeps the virtual machines",
    where: ["lab"],
    programs: ["libvirtd"],
    version: ["--version"],
    atLeast: "8.0",
    packages: ["libvirt-daemon"],
  },
  {
    id: "libvirt qemu driver",
    why: "lets libvirtd run virtual machines",
    where: ["lab"],
    programs: [],
    files: driverFiles("qemu"),
    packages: [driver("qemu")],
  },
  {
    id: "libvirt network driver",
    why: "lets libvirtd make the cluster's network",
    where: ["lab"],
    programs: [],
    files: driverFiles("network"),
    packages: [driver("network"), driver("nwfilter"), driver("nodedev"), driver("secret")],
  },
  {
    id: "libvirt storage driver",
    why: "lets libvirtd keep the pool of disks",
    where: ["lab"],
    programs: [],
    files: driverFiles("storage"),
    packages: [driver("storage")],
  },
  {
    id: "virsh",
    why: "asks libvirt for domains, consoles and events",
    where: ["lab", "libvirt"],
    programs: ["virsh"],
    version: ["--version"],
    packages: ["libvirt-clients"],
  },
  {
    id: "dnsmasq",
    why: "answers the nodes' DNS questions in a lab",
    where: ["lab"],
    programs: ["dnsmasq"],
    version: ["--version"],
    packages: ["dnsmasq-base"],
  },
  {
    id: "iptables",
    why: "libvirt guards the lab's network with it",
    where: ["lab"],
    programs: ["iptables"],
    version: ["--version"],
    packages: ["iptables"],
  },
  {
    id: "ebtables",
    why: "counts and drops frames in a lab's network",
    where: ["lab"],
    programs: ["ebtables"],
    version: ["--version"],
    packages: ["iptables"],
  },
  {
    id: "ip",
    why: "makes the lab's network",
    where: ["lab"],
    programs: ["ip"],
    version: ["-V"],
    packages: ["iproute2"],
  },
  {
    id: "unshare",
    why: "opens the lab's namespaces",
    where: ["lab"],
    programs: ["unshare"],
    version: ["--version"],
    packages: ["util-linux"],
  },
  {
    id: "nsenter",
    why: "enters the lab's namespaces",
    where: ["lab"],
    programs: ["nsenter"],
    version: ["--version"],
    packages: ["util-linux"],
  },
  {
    id: "setpriv",
    why: "ties what kpi starts to its own life",
    where: ["lab", "libvirt"],
    programs: ["setpriv"],
    version: ["--version"],
    packages: ["util-linux"],
  },
  {
    id: "mkisofs",
    why: "makes the seed discs for cloud-init",
    where: ["lab", "libvirt"],
    programs: ["mkisofs", "genisoimage"],
    version: ["--version"],
    packages: ["genisoimage"],
  },
  {
    id: "xsltproc",
    why: "the libvirt provider adds with it what its schema lacks",
    where: ["lab", "libvirt"],
    programs: ["xsltproc"],
    version: ["--version"],
    packages: ["xsltproc"],
  },
  {
    id: "packer",
    why: "builds the node image",
    where: ["lab", "libvirt"],
    programs: ["packer"],
    version: ["version"],
    atLeast: "1.6.6",
    packages: ["packer"],
    otherwise: "kpi fetches its release",
  },
  {
    id: "terraform",
    why: "makes the virtual machines",
    where: ["lab", "libvirt"],
    programs: ["terraform", "tofu"],
    version: ["version"],
    atLeast: "1.9.0",
    packages: [],
    otherwise: "kpi fetches its release",
  },
  {
    id: "ssh",
    why: "reaches the nodes, and a remote hypervisor",
    where: ["lab", "libvirt"],
    programs: ["ssh"],
    version: ["-V"],
    packages: ["openssh-client"],
  },
  {
    id: "kubectl",
    why: "an ordinary client for the cluster",
    where: ["lab", "libvirt"],
    programs: ["kubectl"],
    packages: ["kubernetes-client"],
    otherwise: "kpi kubectl needs one, nothing else does",
  },
  {
    id: "go",
    why: "builds the libvirt provider and the lab's Kubernetes; fetches a newer Go by itself from 1.21 on",
    where: ["go", "tests"],
    programs: ["go"],
    version: ["version"],
    atLeast: "1.21",
    packages: ["golang-go"],
  },
  {
    id: "git",
    why: "applies the fix of the libvirt provider",
    where: ["go"],
    programs: ["git"],
    packages: ["git"],
  },
  {
    id: "gcc",
    why: "builds flannel for the lab's Kubernetes",
    where: ["go"],
    programs: ["gcc"],
    version: ["--version"],
    packages: ["gcc", "libc6-dev"],
  },
  {
    id: "C headers",
    why: "builds flannel for the lab's Kubernetes",
    where: ["go"],
    programs: [],
    files: ["/usr/include/stdlib.h"],
    packages: ["libc6-dev"],
  },
  {
    id: "mmdebstrap",
    why: "builds the lab's source image",
    where: ["mmdebstrap"],
    programs: ["mmdebstrap"],
    packages: ["mmdebstrap"],
  },
  {
    id: "Debian keyring",
    why: "verifies the packages of the lab's source image",
    where: ["mmdebstrap"],
    programs: [],
    files: ["/usr/share/keyrings/debian-archive-keyring.gpg"],
    packages: ["debian-archive-keyring"],
  },
  {
    id: "sfdisk",
    why: "partitions the lab's source image",
    where: ["mmdebstrap"],
    programs: ["sfdisk"],
    version: ["--version"],
    packages: ["fdisk"],
  },
  {
    id: "mke2fs",
    why: "makes the file system of the lab's source image",
    where: ["mmdebstrap"],
    programs: ["mke2fs"],
    version: ["-V"],
    packages: ["e2fsprogs"],
  },
  {
    id: "xz",
    why: "unpacks kernels and releases",
    where: ["mmdebstrap"],
    programs: ["xz"],
    version: ["--version"],
    packages: ["xz-utils"],
  },
  {
    id: "zstd",
    why: "unpacks kernels and images",
    where: ["mmdebstrap"],
    programs: ["zstd"],
    version: ["--version"],
    packages: ["zstd"],
  },
  {
    id: "shellcheck",
    why: "checks the shell scripts",
    where: ["tests"],
    programs: ["shellcheck"],
    packages: ["shellcheck"],
    otherwise: "only kpi test needs it",
  },
  {
    id: "openssl",
    why: "makes the tests' certificates",
    where: ["tests"],
    programs: ["openssl"],
    packages: ["openssl"],
    otherwise: "only kpi test needs it",
  },
  {
    id: "pgrep",
    why: "finds what tests left running",
    where: ["tests"],
    programs: ["pgrep"],
    packages: ["procps"],
    otherwise: "only kpi test needs it",
  },
  {
    id: "curl",
    why: "asks a lab's proxy",
    where: ["tests"],
    programs: ["curl"],
    packages: ["curl"],
    otherwise: "only kpi test needs it",
  },
  {
    id: "ssh-keygen",
    why: "reads the keys that kpi makes",
    where: ["tests"],
    programs: ["ssh-keygen"],
    packages: ["openssh-client"],
    otherwise: "only kpi test needs it",
  },
];

/** Debian split these from libvirt-daemon, and where the plug-ins lie differs by release. */
function driverFiles(name: string): string[] {
  return ["/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/usr/lib"].map(
    (dir) => `${dir}/libvirt/connection-driver/libvirt_driver_${name}.so`,
  );
}
