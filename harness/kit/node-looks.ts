import type { NodePlan } from "../core/plan.ts";
import { type NodeNetworkSeen, parseNodeNetwork } from "./node-network-seen.ts";
import { type NodeSeen, parseNode } from "./node-seen.ts";
import { ProbeText } from "./probe-text.ts";

/** How much a node is asked for: everything that claims judge, or what is about its network. Everything, when its first boot is `over`. */
export type ProbePart = "over" | "whole" | "network";

/** Who asks nodes: prints what probe.sh prints, and fingerprint.sh. */
interface Prober {
  probe(node: NodePlan, part: ProbePart, also?: "fingerprint"): Promise<string>;
  fingerprint(node: NodePlan): Promise<string>;
}

/**
 * The nodes as they are at one moment: each is probed once, whoever asks. Where nobody is going to ask for more than its network, a node
 * is only asked about that.
 */
export class NodeLooks {
  readonly #probes = new Map<string, Promise<ProbeText>>();
  readonly #nodes = new Map<string, Promise<NodeSeen>>();

  /**
   * `wanted`: what somebody is going to ask for, so that who asks for less before takes part of that; undefined when nobody will.
   * `whole`: what everything is: of a cluster that is Ready, its nodes when they have noticed.
   */
  constructor(
    private readonly prober: Prober,
    private readonly wanted: "whole" | "network" | undefined,
    private readonly whole: "over" | "whole" = "whole",
  ) {}

  /** Everything that claims ask about a node. */
  node(node: NodePlan): Promise<NodeSeen> {
    const seeing = this.#nodes.get(node.name) ?? this.#probe(node, "whole").then(parseNode);
    this.#nodes.set(node.name, seeing);
    return seeing;
  }

  /** Who a node is, and how it is in its network. */
  network(node: NodePlan): Promise<NodeNetworkSeen> {
    return this.#probe(node, this.wanted === "whole" || this.#nodes.has(node.name) ? "whole" : "network").then(
      parseNodeNetwork,
    );
  }

  /** What fingerprint.sh prints of a node: with a look at it that is going to be taken, or by itself. */
  async fingerprint(node: NodePlan): Promise<string> {
    const part = this.wanted;
    if (part === undefined || this.#probes.has(`${node.name} ${part}`)) return this.prober.fingerprint(node);
    return (await this.#probe(node, part, "fingerprint")).text("fingerprint");
  }

  #probe(node: NodePlan, part: "whole" | "network", also?: "fingerprint"): Promise<ProbeText> {
    const key = `${node.name} ${part}`;
    const asked = part === "whole" ? this.whole : part;
    const probing =
      this.#probes.get(key) ?? this.prober.probe(node, asked, also).then((printed) => new ProbeText(printed));
    this.#probes.set(key, probing);
    return probing;
  }
}
