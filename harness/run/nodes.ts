import { orAborted } from "../core/deadline.ts";
import { KpiError } from "../core/errors.ts";
import type { RunEventBody, Verdict } from "../core/event.ts";
import { parseVerdict } from "./console.ts";

/** The steps of a node's first boot, in order; the gate is everything before `artefact`. */
export const nodeSteps = ["interface", "address", "route", "dns", "artefact", "install", "service", "ready"] as const;
export type NodeStep = (typeof nodeSteps)[number];

const linesKept = 40;

interface Watched {
  readonly verdicts: Map<string, Verdict>;
  readonly lines: string[];
  readonly waiters: Set<() => void>;
  failure?: unknown;
}

/**
 * What is known of the nodes while they boot, from their consoles and from libvirt. Whoever waits for a node's step is
 * woken when its verdict arrives, and at once when the node can no longer get there.
 */
export class NodeWatch {
  private readonly nodes: ReadonlyMap<string, Watched>;

  constructor(
    names: readonly string[],
    private readonly emit: (body: RunEventBody) => void,
    private readonly evidence: (node: string) => string,
  ) {
    this.nodes = new Map(names.map((name) => [name, { verdicts: new Map(), lines: [], waiters: new Set() }]));
  }

  /** Takes a console line of a node. */
  line(node: string, line: string): void {
    const watched = this.nodes.get(node);
    if (watched === undefined || line === "") return;
    if (watched.lines.length === 0) this.emit({ type: "node", node, state: "booting" });
    watched.lines.push(line);
    if (watched.lines.length > linesKept) watched.lines.shift();
    const verdict = parseVerdict(line);
    if (verdict === undefined) return this.emit({ type: "console", node, line });
    watched.verdicts.set(verdict.step, verdict);
    this.emit({ type: "verdict", verdict });
    this.emit({ type: "node", node, state: verdict.ok ? verdict.step : "failed", detail: verdict.detail });
    if (!verdict.ok) watched.failure ??= this.refused(node, verdict);
    wake(watched);
  }

  /** Takes from libvirt that a node's domain can no longer run: crashed, or paused because the host has no space left for its disk. */
  lost(node: string, what: string, hint?: string): void {
    const watched = this.nodes.get(node);
    if (watched === undefined) return;
    this.emit({ type: "node", node, state: "lost", detail: what });
    watched.failure ??= new KpiError("host", `${node}: ${what}`, {
      ...(hint === undefined ? {} : { hint }),
      evidence: [this.evidence(node)],
    });
    wake(watched);
  }

  /** Takes that nothing more can be known of the nodes: a full disk, say, on which their lines cannot be written down. */
  failed(error: unknown): void {
    for (const watched of this.nodes.values()) {
      watched.failure ??= error;
      wake(watched);
    }
  }

  /**
   * The verdict of a node's step as soon as it is there, or a later step's, which no node reaches without it: a line can be lost on a console.
   * Rejects when the node has failed, whatever the step, or on abort.
   */
  async step(node: string, step: NodeStep, signal: AbortSignal): Promise<Verdict> {
    const watched = this.nodes.get(node);
    if (watched === undefined) throw new Error(`no such node: ${node}`);
    for (;;) {
      const reached = nodeSteps.slice(nodeSteps.indexOf(step)).map((each) => watched.verdicts.get(each));
      const verdict = reached.find((each) => each?.ok === true);
      if (verdict !== undefined) return verdict;
      if (watched.failure !== undefined) throw watched.failure;
      const { promise, resolve } = Promise.withResolvers<void>();
      watched.waiters.add(resolve);
      await orAborted(signal, promise).finally(() => watched.waiters.delete(resolve));
    }
  }

  private refused(node: string, verdict: Verdict): KpiError {
    return new KpiError("claim", `${node}: ${verdict.step}: ${verdict.detail}`, {
      hint: hints[verdict.step] ?? "the node's journal says more: see the evidence",
      evidence: [this.evidence(node)],
    });
  }
}

/** What to do about a node that refused, by the step at which it did. */
const hints: Readonly<Record<string, string>> = {
  interface: "the planned MAC address is on no interface: compare the domain's XML with the plan (kpi plan)",
  address: "the network configuration was not applied: see cloud-init's log on the node (kpi logs NODE)",
  route: "the gateway of the spec must be an address of the libvirt network: see network.gateway",
  dns: "nothing of k3s was installed; check network.dns in the spec, and that the resolver answers from the guests' network",
  artefact: "nothing was installed; the file served is not the one pinned: kpi supplies",
  service: "see why the unit failed: kpi logs NODE",
};

function wake(watched: Watched): void {
  for (const waiter of watched.waiters) waiter();
}
