import { until, notYet } from "../core/deadline.ts";
import { type Duration, formatDuration, milliseconds, seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { PacketRules } from "../lab/packet-rules.ts";
import { GuestAgent } from "../tools/guest-agent.ts";
import { shellQuote } from "../tools/exec.ts";
import type { Access } from "./access.ts";
import { type Fault, type FaultWay, inflict, type Target } from "./fault.ts";

/** Faults of a cluster's network. Each resolves when it is in force, and heals on dispose. Other nodes and the way in from outside are spared unless it says otherwise. */
export interface NetworkFaults {
  /** No frame passes between the two nodes. Both still reach the gateway, and are reached from outside. */
  partition(a: string, b: string, signal?: AbortSignal): Promise<Fault>;
  /** Every packet that the node sends is late by `by`, give or take `jitter`. A reboot of the node ends it. */
  delay(
    node: string,
    by: Duration,
    options?: { readonly jitter?: Duration; readonly signal?: AbortSignal },
  ): Promise<Fault>;
  /** Of the packets to and from the node, this percentage is lost; ours too. */
  loss(node: string, percent: number, signal?: AbortSignal): Promise<Fault>;
  /** The node's cable is out. */
  linkDown(node: string, signal?: AbortSignal): Promise<Fault>;
  /** The lab's resolver answers nobody. */
  dnsDown(signal?: AbortSignal): Promise<Fault>;
}

export function networkFaults(access: Access): NetworkFaults {
  const known = (...names: string[]) => names.forEach((name) => access.node(name));
  return {
    async partition(a, b, signal) {
      known(a, b);
      return inflict(partition, access, { kind: "partition", nodes: [a, b] }, signal);
    },
    async delay(node, by, { jitter = milliseconds(0), signal } = {}) {
      known(node);
      return inflict(delay, access, { kind: "delay", node, by, jitter }, signal);
    },
    async loss(node, percent, signal) {
      known(node);
      return inflict(loss, access, { kind: "loss", node, percent }, signal);
    },
    async linkDown(node, signal) {
      known(node);
      return inflict(linkDown, access, { kind: "link-down", node }, signal);
    },
    dnsDown: (signal) => inflict(dnsDown, access, { kind: "dns-down" }, signal),
  };
}

const agentOf = ({ access }: Target, node: string) => new GuestAgent(access.libvirt, node);
const waiting = (signal?: AbortSignal) => (signal === undefined ? {} : { signal });
const any = Array.from({ length: 256 }, (_, code) => code);

/** Pings from a guest until `enough`; gives what ping printed. One that has lost every packet is an answer as well. */
async function ping(target: Target, from: string, to: string, count: number, signal?: AbortSignal) {
  const command = shellQuote(["ping", "-n", "-q", "-c", String(count), "-i", "0.1", "-W", "2", to]);
  return agentOf(target, from).sh(command, { accept: any, timeout: seconds(60), ...waiting(signal) });
}

/**
 * By MAC address, which stays when a node's power is cut and its tap changes. ARP for each other's address is a broadcast
 * that would otherwise still arrive.
 */
export const partition: FaultWay<"partition"> = {
  async inflict(target, { nodes }, signal) {
    const [a, b] = nodes.map((name) => target.access.node(name)) as [Node, Node];
    const rules = parting(target);
    await rules.add([
      ["-s", a.mac, "-d", b.mac],
      ["-s", b.mac, "-d", a.mac],
      ["-p", "ARP", "--arp-ip-src", a.address, "--arp-ip-dst", b.address],
      ["-p", "ARP", "--arp-ip-src", b.address, "--arp-ip-dst", a.address],
    ]);
    await until(
      `no packet between ${a.name} and ${b.name} was dropped`,
      seconds(60),
      async (stop) => {
        const { code, stdout } = await ping(target, a.name, b.address, 1, stop);
        if (code === 0) notYet(`ping: ${lastLine(stdout)}`);
        if ((await rules.dropped()) === 0) notYet("none yet");
      },
      waiting(signal),
    );
  },
  undo: (target) => parting(target).remove(),
};

const parting = ({ lab, id }: Target) => new PacketRules(lab, "ebtables", [["FORWARD"]], id);

/** In the guest, because this machine's kernel may have no netem; the guest's has. */
export const delay: FaultWay<"delay"> = {
  async check(target, { node }, signal) {
    const { stdout } = await agentOf(target, node).sh(`tc qdisc show dev ${device(target)} root`, { signal });
    if (!stdout.includes("netem")) return;
    throw new KpiError("host", `${node} has a delay already`, { got: stdout.trim() });
  },
  async inflict(target, { node, by, jitter }, signal) {
    const late = [`${by}ms`, ...(jitter === 0 ? [] : [`${jitter}ms`])].join(" ");
    const agent = agentOf(target, node);
    const { gateway } = target.access.plan.network;
    const add = `modprobe sch_netem; tc qdisc replace dev ${device(target)} root netem limit 100000 delay ${late}`;
    await agent.sh(add, { signal });
    await until(
      `packets of ${node} are not late`,
      seconds(60),
      async (stop) => {
        const { stdout } = await ping(target, node, gateway, 3, stop);
        const average = Number(/= [\d.]+\/([\d.]+)\//.exec(stdout)?.[1] ?? Number.NaN);
        if (!(average >= by - jitter)) notYet(`round trip ${lastLine(stdout)}, wanted ${formatDuration(by)}`);
      },
      { signal },
    );
  },
  async undo(target, { node }) {
    const command = `tc qdisc del dev ${device(target)} root 2>/dev/null; tc qdisc show dev ${device(target)} root`;
    const { stdout } = await agentOf(target, node).sh(command);
    if (stdout.includes("netem")) throw new KpiError("contract", `the delay on ${node} stays`, { got: stdout.trim() });
  },
};

const device = ({ access }: Target) => access.plan.network.interface;

export const loss: FaultWay<"loss"> = {
  async inflict(target, { node, percent }, signal) {
    const rules = losing(target, node);
    const all = percent >= 100;
    await rules.add([all ? [] : ["-m", "statistic", "--mode", "random", "--probability", String(percent / 100)]]);
    await until(
      `no packet of ${node} was lost`,
      seconds(60),
      async (stop) => {
        await ping(target, node, target.access.plan.network.gateway, 10, stop);
        if ((await rules.dropped()) === 0) notYet("none yet");
      },
      waiting(signal),
    );
  },
  undo: (target, { node }) => losing(target, node).remove(),
};

/** Each packet meets the rule once: what the node sends where it enters the lab's network, what it gets where it leaves. */
function losing({ access, lab, id }: Target, node: string): PacketRules {
  const { address } = access.node(node);
  const jumps = [
    ["PREROUTING", "-s", address],
    ["POSTROUTING", "-d", address],
  ];
  return new PacketRules(lab, "iptables", jumps, id);
}

export const linkDown: FaultWay<"link-down"> = {
  async inflict(target, { node }, signal) {
    await target.access.libvirt.setLink(node, target.access.node(node).mac, "down", signal);
    await carrier(target, node, "0", signal);
  },
  async undo(target, { node }) {
    await target.access.libvirt.setLink(node, target.access.node(node).mac, "up");
  },
  async settle(target, { node }) {
    await carrier(target, node, "1");
    await until(`${node} does not reach the gateway`, seconds(60), async (stop) => {
      const { code, stdout } = await ping(target, node, target.access.plan.network.gateway, 1, stop);
      if (code !== 0) notYet(lastLine(stdout));
    });
  },
};

/** Waits until the guest itself sees its cable in (1) or out (0). */
async function carrier(target: Target, node: string, wanted: "0" | "1", signal?: AbortSignal): Promise<void> {
  await until(
    `${node} does not see its link ${wanted === "1" ? "up" : "down"}`,
    seconds(60),
    async (stop) => {
      const { stdout } = await agentOf(target, node).sh(`cat /sys/class/net/${device(target)}/carrier`, {
        signal: stop,
      });
      if (stdout.trim() !== wanted) notYet(`carrier ${stdout.trim()}`);
    },
    waiting(signal),
  );
}

export const dnsDown: FaultWay<"dns-down"> = {
  async inflict(target, _spec, signal) {
    const rules = deaf(target);
    await rules.add([
      ["-p", "udp", "--dport", "53"],
      ["-p", "tcp", "--dport", "53"],
    ]);
    await until(
      "no question to the resolver was dropped",
      seconds(60),
      async (stop) => {
        const { access } = target;
        const asking = `timeout 5 resolvectl query --cache=no ${access.plan.network.requiredNames[0] ?? "localhost"}`;
        // Some node may be off or frozen by another fault: whoever can asks.
        await Promise.any(
          access.plan.nodes.map(({ name }) =>
            agentOf(target, name).sh(asking, { accept: any, timeout: seconds(15), signal: stop }),
          ),
        ).catch(() => {});
        if ((await rules.dropped()) === 0) notYet("none yet");
      },
      waiting(signal),
    );
  },
  undo: (target) => deaf(target).remove(),
};

/** Only what is for the lab itself: packets between guests pass INPUT's hook never. */
const deaf = ({ lab, id }: Target) => new PacketRules(lab, "iptables", [["INPUT"]], id);

type Node = ReturnType<Access["node"]>;
const lastLine = (text: string): string => text.trim().split("\n").at(-1) ?? "";
