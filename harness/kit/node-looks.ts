import type { NodePlan } from "../core/plan.ts";
import { type NodeNetworkSeen, parseNodeNetwork } from "./node-network-seen.ts";
import { type NodeSeen, parseNode } from "./node-seen.ts";

/** Asks a node what probe.sh asks: everything, or only about its network. */
type Probe = (node: NodePlan, only?: "network") => Promise<string>;

/**
 * The nodes as they are at one moment: each is probed once, whoever asks. Where nobody is going to ask for more than its network, a node
 * is only asked about that.
 */
export class NodeLooks {
  readonly #whole = new Map<string, Promise<string>>();
  readonly #network = new Map<string, Promise<string>>();

  /** `whole`: somebody is going to ask for whole nodes, so that a look at the network takes its part of that. */
  constructor(
    private readonly probe: Probe,
    private readonly whole: boolean,
  ) {}

  /** Everything that claims ask about a node. */
  async node(node: NodePlan): Promise<NodeSeen> {
    return parseNode(await this.#printed(node, "whole"));
  }

  /** Who a node is, and how it is in its network. */
  async network(node: NodePlan): Promise<NodeNetworkSeen> {
    const part = this.whole || this.#whole.has(node.name) ? "whole" : "network";
    return parseNodeNetwork(await this.#printed(node, part));
  }

  #printed(node: NodePlan, part: "whole" | "network"): Promise<string> {
    const asked = part === "whole" ? this.#whole : this.#network;
    const printing = asked.get(node.name) ?? this.probe(node, ...(part === "network" ? [part] : []));
    asked.set(node.name, printing);
    return printing;
  }
}
