import { createHash } from "node:crypto";
import { addressText, parseNetwork } from "../core/address.ts";
import { KpiError } from "../core/errors.ts";
import type { OnProgress } from "../core/event.ts";
import type { Accelerator } from "./accelerator.ts";

/** The network of a lab's guests, as the plan names it. */
export interface LabNetwork {
  readonly name: string;
  readonly cidr: string;
  readonly gateway: string;
  /** Resolvers that guests use. The lab answers at each of these addresses, whoever owns them outside. */
  readonly dns: readonly string[];
  /** `virbr0` unless said otherwise. */
  readonly bridge?: string;
}

/** What a lab's guests can see. */
export interface LabWorld {
  readonly name: string;
  readonly network: LabNetwork;
  /** Host names that resolve, and to what. All others do not exist. */
  readonly names: Readonly<Record<string, string>>;
}

/** What startLab is asked for. */
export interface LabOptions extends LabWorld {
  /** Absolute, `<state>/labs/<name>`. Must not exist, or hold a dead lab, which is removed. */
  readonly dir: string;
  readonly network: LabNetwork;
  /** What runs its guests. Without KVM its device is hidden from them. */
  readonly accelerator: Accelerator["accelerator"];
  /** Served to guests over HTTP at the gateway, port 80, with range support: URL path (`/k3s`) to an absolute file. */
  readonly files: Readonly<Record<string, string>>;
  /** Directories of this machine that QEMU sees read-only at `/var/lib/libvirt/shares/<key>`, without a copy. */
  readonly shares?: Readonly<Record<string, string>>;
  /**
   * Where libvirtd remembers what QEMU can do, over the life of a lab: asking it takes seconds. Shared safely by any
   * number of labs (libvirt checks versions and writes atomically). In the lab's own directory unless said otherwise.
   */
  readonly cacheDir?: string;
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
}

/** The lab's own note of what it was asked to be (lab.json); the gateway reads it as well. */
export interface LabRecord extends LabWorld {
  /** Served to guests at the gateway, port 80: URL path to a file of this machine. */
  readonly files: Readonly<Record<string, string>>;
  /** The user name that the proxy takes. */
  readonly user: string;
  /** ISO 8601. */
  readonly since: string;
}

/** libvirtd.conf: whoever may open the socket (mode 0700, in a directory 0700) is the lab's owner. */
export const libvirtdConf = `unix_sock_dir = "/run/libvirt"
unix_sock_ro_perms = "0700"
unix_sock_rw_perms = "0700"
unix_sock_admin_perms = "0700"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "2:file:/var/log/libvirt/libvirtd.log"
`;

/** qemu.conf: the lab is the sandbox, so nothing that would need the host's services or leave traces in its cgroups. */
export const qemuConf = `user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
security_driver = "none"
cgroup_controllers = []
namespaces = []
stdio_handler = "file"
`;

/**
 * The libvirt network. NAT like on a production hypervisor, no DHCP (addresses are static) and no resolver of
 * libvirt's own. Its uuid and MAC follow from its name, so that a domain saved in one lab fits another.
 */
export function networkXml({ name, cidr, gateway, bridge = "virbr0" }: LabNetwork): string {
  const network = parseNetwork(cidr);
  if (network === undefined)
    throw new KpiError("spec", "lab: the network's cidr is malformed", { expected: "a.b.c.d/n", got: cidr });
  const hash = createHash("sha256").update(`kpi network ${name}`).digest("hex");
  const uuid = `${hash.slice(0, 8)}-${hash.slice(8, 12)}-4${hash.slice(13, 16)}-8${hash.slice(17, 20)}-${hash.slice(20, 32)}`;
  const mac = ["52", "54", "00", hash.slice(32, 34), hash.slice(34, 36), hash.slice(36, 38)].join(":");
  const netmask = addressText(2 ** 32 - 2 ** (32 - network.prefix));
  return `<network>
  <name>${escapeXml(name)}</name>
  <uuid>${uuid}</uuid>
  <forward mode="nat"/>
  <bridge name="${escapeXml(bridge)}" stp="off" delay="0"/>
  <mac address="${mac}"/>
  <dns enable="no"/>
  <ip address="${gateway}" netmask="${netmask}"/>
</network>
`;
}

/** dnsmasq as a resolver that knows the lab's names and says NXDOMAIN to all others; every question is logged. */
export function dnsmasqConf({ names }: LabWorld): string {
  const records = Object.entries(names).map(([name, address]) => `host-record=${name},${address}`);
  return [
    "user=root",
    "no-resolv",
    "no-hosts",
    "no-poll",
    "pid-file=",
    "log-queries",
    "log-facility=/var/log/libvirt/dns.log",
    "address=/#/",
    ...records,
    "",
  ].join("\n");
}

/** The resolver addresses that the lab must own because its bridge does not have them, as /32 networks. */
export function ownedResolvers({ gateway, dns }: LabNetwork): string[] {
  return [...new Set(dns)].filter((address) => address !== gateway).map((address) => `${address}/32`);
}

function escapeXml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
