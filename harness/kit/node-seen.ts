import { KpiError } from "../core/errors.ts";
import type { Verdict } from "../core/event.ts";

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

/** A unit as systemd shows it; times are seconds since boot, 0 when it never started. */
export interface UnitSeen {
  readonly loaded: boolean;
  readonly active: string;
  readonly enabled: string;
  readonly result: string;
  readonly restarts: number;
  readonly startedAt: number;
  readonly activeAt: number;
}

export interface UserSeen {
  readonly name: string;
  readonly id: number;
  readonly shell: string;
  readonly password: "locked" | "set" | "empty" | "unknown";
}

export interface FileSeen {
  readonly path: string;
  /** Octal, `600`. */
  readonly mode: string;
  readonly owner: string;
  /** Seconds since 1970 by the guest's clock; 0 where the file system does not tell. */
  readonly born: number;
  readonly size: number;
  /** Inode and last change, which nobody can set: another one whenever the file is another, or its content. */
  readonly stamp: string;
}

/** One node, seen from within, by one command. Holds no secret. */
export interface NodeSeen {
  readonly hostname: string;
  readonly hostnameFile: string;
  readonly machineId: string;
  readonly bootId: string;
  readonly kernel: string;
  readonly os: string;
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
  /** Those who can log in, or could if they had a password. */
  readonly users: readonly UserSeen[];
  readonly authorizedKeys: readonly { readonly file: string; readonly key: string }[];
  /** The effective configuration, as `sshd -T` prints it; the first of several values. */
  readonly sshd: Readonly<Record<string, string>>;
  readonly units: Readonly<Record<string, UnitSeen>>;
  readonly failedUnits: readonly string[];
  readonly cloudInit: { readonly datasource: string; readonly errors: readonly string[] };
  readonly verdicts: readonly Verdict[];
  readonly packages: readonly string[];
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly diskBytes: number;
  readonly rootBytes: number;
  /** k3s's configuration, the token replaced by `***`. */
  readonly config: string;
  readonly files: readonly FileSeen[];
  /** What the node script was told. */
  readonly env: Readonly<Record<string, string>>;
}

const dhcpClients = /^(dhclient|dhcpcd|udhcpc|dhcp6c|NetworkManager|connmand|pump)$/;
const resolvedFile = "/run/systemd/resolve/resolv.conf";
/** Where systemd-resolved itself listens. */
const resolvedStub = "127.0.0.53";
/** UDP ports of DHCP clients, IPv4 and IPv6. */
const dhcpPorts = /:(68|546)\b/;
/** What a packet socket gets: everything, or IPv4. A client that has no address yet asks and hears through one. */
const dhcpPackets = /^(0003|0800)$/;

/** Reads what probe.sh printed. Pure. */
export function parseProbe(text: string): NodeSeen {
  const sections = splitSections(text);
  const of = (name: string): string => {
    const found = sections.get(name);
    if (found !== undefined) return found;
    throw new KpiError("contract", `the probe of a node has no section ${name}`, {
      details: text.split("\n").slice(-5),
    });
  };
  const lines = (name: string) =>
    of(name)
      .split("\n")
      .filter((line) => line !== "");
  const shown = (name: string) => lines(name).map(parseShown);
  const value = (name: string, path: string) => shown(name).find((line) => line.path === path)?.text ?? "";
  of("end"); // a probe that was cut off proves nothing

  const links = JSON.parse(of("addresses") || "[]") as IpLink[];
  const servers = (file: string) =>
    shown("resolv").flatMap(({ path, text }) =>
      path === file && text.startsWith("nameserver ") ? [text.slice(11).trim()] : [],
    );
  const asked = servers("/etc/resolv.conf");
  const passwords = new Map(lines("passwords").map((line) => line.split(" ") as [string, string]));
  const status = JSON.parse(fileText(shown("cloudinit"), "/run/cloud-init/status.json") || "{}") as CloudInitStatus;
  return {
    hostname: value("name", "/proc/sys/kernel/hostname"),
    hostnameFile: value("name", "/etc/hostname"),
    machineId: value("name", "/etc/machine-id"),
    bootId: value("name", "/proc/sys/kernel/random/boot_id"),
    kernel: value("name", "/proc/sys/kernel/osrelease"),
    os:
      shown("os")
        .find(({ text }) => text.startsWith("PRETTY_NAME="))
        ?.text.slice(13, -1) ?? "",
    interfaces: links.map(parseInterface),
    routes: (JSON.parse(of("routes") || "[]") as IpRoute[]).map(({ dst, gateway = "", dev, protocol = "" }) => ({
      to: dst,
      via: gateway,
      device: dev,
      protocol,
    })),
    // Of whatever programs ask, unless that is systemd-resolved: then those that it asks.
    resolvers: asked.every((server) => server === resolvedStub) ? servers(resolvedFile) : asked,
    hostKeys: shown("hostkeys").map(({ text }) => text.split(" ").slice(0, 2).join(" ")),
    dhcp: {
      leases: lines("leases"),
      clients: lines("processes").filter((name) => dhcpClients.test(name)),
      sockets: [
        ...lines("sockets")
          .map(parseSocket)
          .filter((socket) => socket.startsWith("udp") && dhcpPorts.test(socket)),
        ...shown("raw").flatMap(({ text }) => parsePacketSocket(text, links)),
      ],
      config: shown("networkd")
        .filter(({ text }) => /^\s*-?\s*(DHCP|dhcp[46])\s*[=:]\s*(yes|true|ipv[46]|both|on)\s*$/i.test(text))
        .map(({ path, text }) => `${path}: ${text}`),
    },
    listening: [...new Set(lines("sockets").map(parseSocket))].sort(),
    users: lines("passwd").map((line) => {
      const [name = "", id = "", , shell = ""] = line.split(" ");
      return { name, id: Number(id), shell, password: (passwords.get(name) ?? "unknown") as UserSeen["password"] };
    }),
    authorizedKeys: shown("keys").map(({ path, text }) => ({ file: path, key: text.split(" ").slice(0, 2).join(" ") })),
    sshd: Object.fromEntries(
      lines("sshd")
        .map((line) => [line.split(" ", 1)[0] ?? "", line.slice(line.indexOf(" ") + 1)] as const)
        .reverse(),
    ),
    units: Object.fromEntries(
      of("units")
        .split("\n\n")
        .filter((part) => part.trim() !== "")
        .map(parseUnit),
    ),
    failedUnits: lines("failed").map((line) => line.trim().split(/\s+/)[0] ?? line),
    cloudInit: {
      datasource: status.v1?.datasource ?? "",
      errors: Object.entries(status.v1 ?? {}).flatMap(([stage, part]) =>
        typeof part === "object" && part !== null ? (part.errors ?? []).map((error) => `${stage}: ${error}`) : [],
      ),
    },
    verdicts: lines("verdicts").map((line) => JSON.parse(line) as Verdict),
    packages: lines("packages").flatMap((line) => (line.endsWith(" installed") ? [line.split(" ")[0] ?? ""] : [])),
    cpus: countCpus(value("hardware", "/sys/devices/system/cpu/online")),
    memoryMiB: Math.round(Number(/MemTotal:\s+(\d+)/.exec(of("hardware"))?.[1] ?? 0) / 1_024),
    diskBytes: Number(value("hardware", "/sys/block/vda/size")) * 512,
    rootBytes: Number(of("filesystem").trim().split(/\s+/)[1] ?? 0),
    config: of("config"),
    files: lines("files").map((line) => {
      const [path = "", mode = "", owner = "", born = "0", size = "0", inode = "", changed = ""] = line.split(" ");
      return { path, mode, owner, born: Number(born), size: Number(size), stamp: `${inode} ${changed}` };
    }),
    env: Object.fromEntries(
      lines("env").map((line) => [
        line.split("=", 1)[0] ?? "",
        line.slice(line.indexOf("=") + 1).replace(/^'|'$/g, ""),
      ]),
    ),
  };
}

interface CloudInitStatus {
  readonly v1?: { readonly datasource?: string } & Readonly<
    Record<string, { readonly errors?: readonly string[] } | undefined>
  >;
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

function splitSections(text: string): Map<string, string> {
  const parts = text.split(/^@@ (\w+)\n?/m);
  return new Map(
    Array.from({ length: (parts.length - 1) / 2 }, (_, index) => [
      parts[2 * index + 1] ?? "",
      (parts[2 * index + 2] ?? "").replace(/\n$/, ""),
    ]),
  );
}

/** A line `PATH: TEXT` of probe.sh's `show`. */
function parseShown(line: string): { path: string; text: string } {
  const at = line.indexOf(": ");
  return at < 0 ? { path: line.replace(/:$/, ""), text: "" } : { path: line.slice(0, at), text: line.slice(at + 2) };
}

const fileText = (shown: readonly { path: string; text: string }[], path: string): string =>
  shown.flatMap((line) => (line.path === path ? [line.text] : [])).join("\n");

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

/** `udp UNCONN 0 0 0.0.0.0:8472 0.0.0.0:*` of ss. */
function parseSocket(line: string): string {
  const words = line.trim().split(/\s+/);
  return `${words[0]} ${words[4]}`;
}

/** A line of /proc/net/packet, below its heading: `0000 3 3 0800 2 1 0 0 1158`. 2 is the interface, 0 for all. */
function parsePacketSocket(line: string, links: readonly IpLink[]): string[] {
  const [, , , protocol = "", index = ""] = line.trim().split(/\s+/);
  if (!dhcpPackets.test(protocol)) return [];
  return [`packets of ${links.find(({ ifindex }) => ifindex === Number(index))?.ifname ?? "every interface"}`];
}

function parseUnit(text: string): [string, UnitSeen] {
  const values = new Map(text.split("\n").map((line) => line.split("=", 2) as [string, string]));
  const of = (key: string) => values.get(key) ?? "";
  const seconds = (key: string) => Number(of(key) || 0) / 1_000_000;
  return [
    of("Id").replace(/\.service$/, ""),
    {
      loaded: of("LoadState") === "loaded",
      active: of("ActiveState"),
      enabled: of("UnitFileState"),
      result: of("Result"),
      restarts: Number(of("NRestarts") || 0),
      startedAt: seconds("ExecMainStartTimestampMonotonic"),
      activeAt: seconds("ActiveEnterTimestampMonotonic"),
    },
  ];
}

/** How many CPUs `0-1,3` is. */
function countCpus(online: string): number {
  return online
    .split(",")
    .map((part) => part.split("-").map(Number))
    .reduce((sum, [from = 0, to = from]) => sum + to - from + 1, 0);
}
