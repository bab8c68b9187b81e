import type { ProbeText, ShownLine } from "./probe-text.ts";

/** An address of an interface. */
export interface AddressSeen {
  /** `192.168.122.11/24` */
  readonly cidr: string;
  readonly family: 4 | 6;
  /** global, link or host. */
  readonly scope: string;
  /** Whether it has an end, as leased ones do. */
  readonly dynamic: boolean;
}

export interface InterfaceSeen {
  readonly name: string;
  /** "" for hardware; bridge, vxlan, veth, ... */
  readonly kind: string;
  readonly mac: string;
  readonly mtu: number;
  readonly up: boolean;
  readonly addresses: readonly AddressSeen[];
  readonly vxlan?: { readonly id: number; readonly port: number; readonly local: string; readonly device: string };
}

export interface RouteSeen {
  readonly to: string;
  readonly via: string;
  readonly device: string;
  readonly protocol: string;
}

/** How a node is in its network: who it is, and where. A part of what can be seen of it, which takes an emulated node a third of the time. */
export interface NodeNetworkSeen {
  readonly hostname: string;
  readonly hostnameFile: string;
  readonly machineId: string;
  readonly bootId: string;
  readonly interfaces: readonly InterfaceSeen[];
  readonly routes: readonly RouteSeen[];
  readonly resolvers: readonly string[];
  /** `ssh-ed25519 AAAA...`, without the comment. */
  readonly hostKeys: readonly string[];
  /** Whatever could get, or has got, an address from somebody else. */
  readonly dhcp: {
    readonly leases: readonly string[];
    readonly clients: readonly string[];
    readonly sockets: readonly string[];
    readonly config: readonly string[];
  };
  /** `tcp 0.0.0.0:22` */
  readonly listening: readonly string[];
}

const dhcpClients = /^(dhclient|dhcpcd|udhcpc|dhcp6c|NetworkManager|connmand|pump)$/;
const resolvedFile = "/run/systemd/resolve/resolv.conf";
/** Where systemd-resolved itself listens. */
const resolvedStub = "127.0.0.53";
/** UDP ports of DHCP clients, IPv4 and IPv6. */
const dhcpPorts = /:(68|546)\b/;
/** What a packet socket gets: everything, or IPv4. A client that has no address yet asks and hears through one. */
const dhcpPackets = /^(0003|0800)$/;

/** Reads what probe.sh printed of a node's network, alone or as a part of all. Pure. */
export function parseNodeNetwork(probe: ProbeText): NodeNetworkSeen {
  const [addresses = "[]", routes = "[]"] = probe.lines("links");
  const links = JSON.parse(addresses) as IpLink[];
  const sockets = parseSockets(probe.lines("sockets"));
  return {
    hostname: probe.value("name", "/proc/sys/kernel/hostname"),
    hostnameFile: probe.value("name", "/etc/hostname"),
    machineId: probe.value("name", "/etc/machine-id"),
    bootId: probe.value("name", "/proc/sys/kernel/random/boot_id"),
    interfaces: links.map(parseInterface),
    routes: (JSON.parse(routes) as IpRoute[]).map(({ dst, gateway = "", dev, protocol = "" }) => ({
      to: dst,
      via: gateway,
      device: dev,
      protocol,
    })),
    resolvers: parseResolvers(probe.shown("resolv")),
    hostKeys: probe.keys("hostkeys").map(({ key }) => key),
    dhcp: {
      leases: probe.lines("leases"),
      clients: probe.lines("processes").filter((name) => dhcpClients.test(name)),
      sockets: [
        ...sockets.filter((socket) => socket.startsWith("udp") && dhcpPorts.test(socket)),
        ...probe.shown("raw").flatMap(({ text }) => parsePacketSocket(text, links)),
      ],
      config: probe
        .shown("networkd")
        .filter(({ text }) => /^\s*-?\s*(DHCP|dhcp[46])\s*[=:]\s*(yes|true|ipv[46]|both|on)\s*$/i.test(text))
        .map(({ path, text }) => `${path}: ${text}`),
    },
    listening: [...new Set(sockets)].sort(),
  };
}

interface IpLink {
  readonly ifindex: number;
  readonly ifname: string;
  readonly flags: readonly string[];
  readonly mtu: number;
  readonly address?: string;
  readonly operstate: string;
  readonly linkinfo?: {
    readonly info_kind?: string;
    readonly info_data?: {
      readonly id?: number;
      readonly port?: number;
      readonly local?: string;
      readonly link?: string;
    };
  };
  readonly addr_info: readonly {
    readonly family: string;
    readonly local: string;
    readonly prefixlen: number;
    readonly scope: string;
    readonly dynamic?: boolean;
  }[];
}
interface IpRoute {
  readonly dst: string;
  readonly gateway?: string;
  readonly dev: string;
  readonly protocol?: string;
}

/** Those of whatever programs ask, unless that is systemd-resolved: then those that it asks. */
function parseResolvers(shown: readonly ShownLine[]): string[] {
  const servers = (file: string) =>
    shown.flatMap(({ path, text }) => (path === file && text.startsWith("nameserver ") ? [text.slice(11).trim()] : []));
  const asked = servers("/etc/resolv.conf");
  return asked.every((server) => server === resolvedStub) ? servers(resolvedFile) : asked;
}

function parseInterface({ ifname, flags, mtu, address = "", linkinfo, addr_info }: IpLink): InterfaceSeen {
  const { id = 0, port = 0, local = "", link = "" } = linkinfo?.info_data ?? {};
  return {
    name: ifname,
    kind: linkinfo?.info_kind ?? "",
    mac: address,
    mtu,
    up: flags.includes("UP") && flags.includes("LOWER_UP"),
    addresses: addr_info.map((found) => ({
      cidr: `${found.local}/${found.prefixlen}`,
      family: found.family === "inet" ? 4 : 6,
      scope: found.scope,
      dynamic: found.dynamic === true,
    })),
    ...(linkinfo?.info_kind === "vxlan" ? { vxlan: { id, port, local, device: link } } : {}),
  };
}

/**
 * Sockets that listen, of /proc/net/tcp, tcp6, udp and udp6, each below its heading: `0: 3500007F:0035 00000000:0000 0A ...`; see
 * proc_net_tcp.rst of the kernel's documentation. Whether one of IPv6 hears IPv4 as well is not told there.
 */
function parseSockets(lines: readonly string[]): string[] {
  let protocol = "";
  return lines.flatMap((line) => {
    const [, local = "", , state = "", ...rest] = line.trim().split(/\s+/);
    if (local === "local_address") protocol = rest.includes("drops") ? "udp" : "tcp";
    const [address = "", port = ""] = local.split(":");
    const listens = (protocol === "tcp" && state === "0A") || (protocol === "udp" && state === "07");
    return listens ? [`${protocol} ${parseAddress(address)}:${parseInt(port, 16)}`] : [];
  });
}

/** `0100007F`, or four of the like for IPv6: words of 32 bits, the last byte first. */
function parseAddress(words: string): string {
  const bytes = Buffer.from(words, "hex");
  bytes.swap32();
  if (bytes.length === 4) return bytes.join(".");
  const groups = Array.from({ length: 8 }, (_, index) => bytes.readUInt16BE(2 * index).toString(16));
  return new URL(`http://[${groups.join(":")}]`).hostname;
}

/** A line of /proc/net/packet, below its heading: `0000 3 3 0800 2 1 0 0 1158`. 2 is the interface, 0 for all. */
function parsePacketSocket(line: string, links: readonly IpLink[]): string[] {
  const [, , , protocol = "", index = ""] = line.trim().split(/\s+/);
  if (!dhcpPackets.test(protocol)) return [];
  return [`packets of ${links.find(({ ifindex }) => ifindex === Number(index))?.ifname ?? "every interface"}`];
}
