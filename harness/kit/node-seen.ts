import type { Verdict } from "../core/event.ts";
import { type NodeNetworkSeen, parseNodeNetwork } from "./node-network-seen.ts";
import type { ProbeText } from "./probe-text.ts";

/** A unit as systemd shows it. */
export interface UnitSeen {
  readonly loaded: boolean;
  readonly active: string;
  readonly enabled: string;
  readonly restarts: number;
  /** Seconds since boot; 0 when it never started. */
  readonly startedAt: number;
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
export interface NodeSeen extends NodeNetworkSeen {
  /** Those who can log in, or could if they had a password. */
  readonly users: readonly UserSeen[];
  readonly authorizedKeys: readonly { readonly file: string; readonly key: string }[];
  /** The effective configuration, as `sshd -T` prints it; the first of several values. */
  readonly sshd: Readonly<Record<string, string>>;
  /** The two of k3s, of which a node has the one of its role. */
  readonly units: Readonly<Record<string, UnitSeen>>;
  readonly failedUnits: readonly string[];
  readonly cloudInit: { readonly datasource: string; readonly errors: readonly string[] };
  readonly verdicts: readonly Verdict[];
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

/** Reads what probe.sh printed. Pure. */
export function parseNode(probe: ProbeText): NodeSeen {
  const passwords = new Map(probe.lines("passwords").map((line) => line.split(" ") as [string, string]));
  const status = JSON.parse(probe.text("cloudinit") || "{}") as CloudInitStatus;
  return {
    ...parseNodeNetwork(probe),
    users: probe.lines("passwd").map((line) => {
      const [name = "", id = "", , shell = ""] = line.split(" ");
      return { name, id: Number(id), shell, password: (passwords.get(name) ?? "unknown") as UserSeen["password"] };
    }),
    authorizedKeys: probe.keys("keys"),
    sshd: Object.fromEntries(
      probe
        .lines("sshd")
        .map((line) => [line.split(" ", 1)[0] ?? "", line.slice(line.indexOf(" ") + 1)] as const)
        .reverse(),
    ),
    units: Object.fromEntries(
      probe
        .text("units")
        .split("\n\n")
        .filter((part) => part.trim() !== "")
        .map(parseUnit),
    ),
    failedUnits: probe.lines("failed").map((line) => line.trim().split(/\s+/)[0] ?? line),
    cloudInit: {
      datasource: status.v1?.datasource ?? "",
      errors: Object.entries(status.v1 ?? {}).flatMap(([stage, part]) =>
        typeof part === "object" && part !== null ? (part.errors ?? []).map((error) => `${stage}: ${error}`) : [],
      ),
    },
    verdicts: probe.lines("verdicts").map((line) => JSON.parse(line) as Verdict),
    cpus: countCpus(probe.value("hardware", "/sys/devices/system/cpu/online")),
    memoryMiB: Math.round(Number(/MemTotal:\s+(\d+)/.exec(probe.value("hardware", "/proc/meminfo"))?.[1] ?? 0) / 1_024),
    diskBytes: Number(probe.value("hardware", "/sys/block/vda/size")) * 512,
    rootBytes: (probe.lines("filesystem")[0] ?? "").split(" ").reduce((size, factor) => size * Number(factor), 1),
    config: probe.text("config"),
    files: probe.lines("files").map((line) => {
      const [path = "", mode = "", owner = "", born = "0", size = "0", inode = "", changed = ""] = line.split(" ");
      return { path, mode, owner, born: Number(born), size: Number(size), stamp: `${inode} ${changed}` };
    }),
    env: Object.fromEntries(
      probe
        .lines("env")
        .map((line) => [line.split("=", 1)[0] ?? "", line.slice(line.indexOf("=") + 1).replace(/^'|'$/g, "")]),
    ),
  };
}

interface CloudInitStatus {
  readonly v1?: { readonly datasource?: string } & Readonly<
    Record<string, { readonly errors?: readonly string[] } | undefined>
  >;
}

function parseUnit(text: string): [string, UnitSeen] {
  const values = new Map(text.split("\n").map((line) => line.split("=", 2) as [string, string]));
  const of = (key: string) => values.get(key) ?? "";
  return [
    of("Id").replace(/\.service$/, ""),
    {
      loaded: of("LoadState") === "loaded",
      active: of("ActiveState"),
      enabled: of("UnitFileState"),
      restarts: Number(of("NRestarts") || 0),
      startedAt: Number(of("ExecMainStartTimestampMonotonic") || 0) / 1_000_000,
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
