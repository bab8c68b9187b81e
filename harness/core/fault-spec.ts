import { type Duration, formatDuration, parseDuration } from "./duration.ts";
import { KpiError } from "./errors.ts";
import { nearest } from "./nearest.ts";

/** A fault that is inflicted on a running cluster, as data: enough to journal it, to replay it, and to heal it from another process. */
export type FaultSpec =
  | { readonly kind: "partition"; readonly nodes: readonly [string, string] }
  | { readonly kind: "delay"; readonly node: string; readonly by: Duration; readonly jitter: Duration }
  | { readonly kind: "loss"; readonly node: string; readonly percent: number }
  | { readonly kind: "link-down"; readonly node: string }
  | { readonly kind: "dns-down" }
  | { readonly kind: "power-cut"; readonly node: string }
  | { readonly kind: "reboot"; readonly node: string }
  | { readonly kind: "freeze"; readonly node: string }
  | { readonly kind: "fill-disk"; readonly node: string; readonly path: string }
  /** Milliseconds; negative is into the past. */
  | { readonly kind: "set-clock"; readonly node: string; readonly offset: number }
  | { readonly kind: "kill-unit"; readonly node: string; readonly unit: string };

export type FaultKind = FaultSpec["kind"];
export type FaultOf<Kind extends FaultKind> = Extract<FaultSpec, { readonly kind: Kind }>;

/** What of a cluster a fault can be about. */
export interface ClusterShape {
  readonly nodes: readonly { readonly name: string; readonly role: "server" | "agent" }[];
}

/** How each fault is written and what it does; the order is the one of `kpi fault --help`. */
export const faultUsage: Readonly<Record<FaultKind, { readonly words: string; readonly does: string }>> = {
  partition: { words: "NODE NODE", does: "no frame passes between the two; all else goes on" },
  delay: { words: "NODE DURATION [JITTER]", does: "every packet that the node sends is late" },
  loss: { words: "NODE PERCENT", does: "packets to and from the node are lost at random" },
  "link-down": { words: "NODE", does: "the node's cable is unplugged" },
  "dns-down": { words: "", does: "the resolver is deaf; addresses go on working" },
  "power-cut": { words: "NODE", does: "the node's power is gone; healing boots it and waits until it is Ready" },
  reboot: { words: "NODE", does: "the node shuts down and boots; healing waits until it is Ready" },
  freeze: { words: "NODE", does: "the node's CPUs stand still; healing steps its clock" },
  "fill-disk": { words: "NODE [PATH]", does: "the file system that holds PATH (/) has no byte left" },
  "set-clock": { words: "NODE OFFSET", does: "the node's clock is wrong, by 1h or -10m" },
  "kill-unit": { words: "NODE [UNIT]", does: "the unit (k3s) is killed by SIGKILL and stays down" },
};

export const faultKinds = Object.keys(faultUsage) as FaultKind[];

/** The nodes that a fault is about; none for one of the whole network. */
export function faultNodes(fault: FaultSpec): readonly string[] {
  if (fault.kind === "dns-down") return [];
  return fault.kind === "partition" ? fault.nodes : [fault.node];
}

/** The name of k3s's unit on a node of this role. */
export const k3sUnit = (role: "server" | "agent"): string => (role === "server" ? "k3s" : "k3s-agent");

/** A fault in words: `partition between k3s-cp-01 and k3s-worker-01`. */
export function describeFault(fault: FaultSpec): string {
  switch (fault.kind) {
    case "partition":
      return `partition between ${fault.nodes.join(" and ")}`;
    case "delay": {
      const jitter = fault.jitter === 0 ? "" : ` ± ${formatDuration(fault.jitter)}`;
      return `delay of ${formatDuration(fault.by)}${jitter} on ${fault.node}`;
    }
    case "loss":
      return `loss of ${fault.percent} % on ${fault.node}`;
    case "link-down":
      return `link down on ${fault.node}`;
    case "dns-down":
      return "dns down";
    case "power-cut":
      return `power cut of ${fault.node}`;
    case "reboot":
      return `reboot of ${fault.node}`;
    case "freeze":
      return `freeze of ${fault.node}`;
    case "fill-disk":
      return `full disk at ${fault.path} on ${fault.node}`;
    case "set-clock":
      return `clock of ${fault.node} ${formatDuration(Math.abs(fault.offset))} ${fault.offset < 0 ? "slow" : "fast"}`;
    case "kill-unit":
      return `${fault.unit} killed on ${fault.node}`;
  }
}

/** A fault as it is written on a command line, `parseFault`'s inverse. */
export function faultWords(fault: FaultSpec): string[] {
  switch (fault.kind) {
    case "partition":
      return [fault.kind, ...fault.nodes];
    case "delay":
      return [fault.kind, fault.node, `${fault.by}ms`, ...(fault.jitter === 0 ? [] : [`${fault.jitter}ms`])];
    case "loss":
      return [fault.kind, fault.node, String(fault.percent)];
    case "dns-down":
      return [fault.kind];
    case "fill-disk":
      return [fault.kind, fault.node, fault.path];
    case "set-clock":
      return [fault.kind, fault.node, `${fault.offset < 0 ? "-" : ""}${Math.abs(fault.offset)}ms`];
    case "kill-unit":
      return [fault.kind, fault.node, fault.unit];
    default:
      return [fault.kind, fault.node];
  }
}

/** Reads `delay k3s-worker-01 200ms`. Throws a `spec` error that says what was expected; the nodes must be the cluster's. */
export function parseFault(words: readonly string[], shape: ClusterShape): FaultSpec {
  const [kind = "", ...rest] = words;
  if (!isKind(kind)) {
    const meant = nearest(kind, faultKinds);
    throw new KpiError("spec", `there is no fault ${JSON.stringify(kind)}`, {
      expected: faultKinds.join(", "),
      ...(meant === undefined ? {} : { hint: `did you mean ${meant}?` }),
    });
  }
  const wrong = (what: string, expected = `${kind} ${faultUsage[kind].words}`.trimEnd()) =>
    new KpiError("spec", `fault ${kind}: ${what}`, { expected, hint: "kpi fault --list" });
  const most = faultUsage[kind].words.split(" ").filter((word) => word !== "").length;
  const surplus = rest[most];
  if (surplus !== undefined) throw wrong(`unexpected argument ${JSON.stringify(surplus)}`);
  const node = (word: string | undefined): string => {
    if (word === undefined) throw wrong("a node is missing");
    if (shape.nodes.some(({ name }) => name === word)) return word;
    throw wrong(`there is no node ${JSON.stringify(word)}`, `one of ${shape.nodes.map(({ name }) => name).join(", ")}`);
  };
  const duration = (word: string | undefined, what: string): Duration => {
    const found = word === undefined ? undefined : parseDuration(word);
    if (found === undefined)
      throw wrong(
        `${what} ${word === undefined ? "is missing" : `is ${JSON.stringify(word)}`}`,
        "a duration such as 200ms, 30s or 5m",
      );
    return found;
  };

  const [first, second, third] = rest;
  switch (kind) {
    case "partition": {
      const nodes = [node(first), node(second)] as const;
      if (nodes[0] === nodes[1]) throw wrong(`${nodes[0]} cannot be parted from itself`, "two nodes");
      return { kind, nodes };
    }
    case "delay": {
      const by = { node: node(first), by: duration(second, "the delay") };
      const jitter = third === undefined ? (0 as Duration) : duration(third, "the jitter");
      if (by.by === 0 || by.by > 60_000)
        throw wrong(`a delay of ${formatDuration(by.by)}`, "more than nothing, at most 1m");
      if (jitter > by.by) throw wrong("the jitter is larger than the delay", `at most ${formatDuration(by.by)}`);
      return { kind, ...by, jitter };
    }
    case "loss": {
      const on = node(first);
      const percent = Number(/^([0-9]{1,3}(?:\.[0-9]+)?)%?$/.exec(second ?? "")?.[1] ?? Number.NaN);
      if (percent > 0 && percent <= 100) return { kind, node: on, percent };
      throw wrong(`${JSON.stringify(second ?? "")} is no percentage`, "more than 0, at most 100");
    }
    case "fill-disk": {
      const path = second ?? "/";
      if (!path.startsWith("/")) throw wrong(`${JSON.stringify(path)} is no absolute path`, "a directory such as /");
      return { kind, node: node(first), path };
    }
    case "set-clock": {
      const on = node(first);
      const [, sign, length] = /^([+-]?)(.*)$/.exec(second ?? "") ?? [];
      const offset = duration(length === "" ? undefined : length, "the offset");
      if (offset < 5_000) throw wrong(`an offset of ${formatDuration(offset)} cannot be told from none`, "at least 5s");
      return { kind, node: on, offset: sign === "-" ? -offset : offset };
    }
    case "kill-unit": {
      const on = node(first);
      const role = shape.nodes.find(({ name }) => name === on)?.role ?? "agent";
      const unit = (second ?? k3sUnit(role)).replace(/\.service$/, "");
      if (!/^[A-Za-z0-9@_.:-]+$/.test(unit) || unit.startsWith("-"))
        throw wrong(`${JSON.stringify(unit)} is no unit's name`);
      if (unit === "qemu-guest-agent") throw wrong("it is by the guest agent that faults are healed", "another unit");
      return { kind, node: on, unit };
    }
    case "dns-down":
      return { kind };
    default:
      return { kind, node: node(first) };
  }
}

const isKind = (word: string): word is FaultKind => Object.hasOwn(faultUsage, word);
