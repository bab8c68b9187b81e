import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { minutes } from "../core/duration.ts";
import type { NodePlan, Plan } from "../core/plan.ts";
import type { Access } from "../run/access.ts";
import { writeWhole } from "../run/cluster.ts";
import type { NodeConnection } from "../tools/ssh.ts";
import { shellQuote } from "../tools/exec.ts";
import { type NodeHandle, connectLimit, nodeHandle } from "./node.ts";
import { type BinarySeen, type NodeSeen, parseProbe } from "./node-seen.ts";

const probe = readFileSync(join(import.meta.dir, "..", "tools", "probe.sh"), "utf8");

/** The ways into a cluster while specs look at it: one connection a node, kept open, and each node probed once a look. */
export class Session implements AsyncDisposable {
  readonly #connections = new Map<string, Promise<NodeConnection>>();
  readonly nodes: readonly NodeHandle[];

  constructor(
    readonly access: Access,
    readonly plan: Plan,
  ) {
    this.nodes = plan.nodes.map((node) => nodeHandle(node, () => this.connect(node)));
  }

  /** The connection to a node; a lost one is made anew. */
  connect(node: NodePlan): Promise<NodeConnection> {
    const { name } = node;
    const open = this.#connections.get(name);
    if (open !== undefined) return open;
    const opening = this.access.ssh(name, { deadline: connectLimit });
    this.#connections.set(name, opening);
    const forget = () => void (this.#connections.get(name) === opening && this.#connections.delete(name));
    opening.then((connection) => connection.closed.then(forget), forget);
    return opening;
  }

  /** Everything that claims ask about a node, in one round trip. */
  async look(node: NodePlan): Promise<NodeSeen> {
    const connection = await this.connect(node);
    const path = join(this.access.cluster.dir, `binary-${node.name}.json`);
    const known = existsSync(path) ? (JSON.parse(readFileSync(path, "utf8")) as BinarySeen) : undefined;
    const command = `KNOWN=${shellQuote([known?.stamp ?? ""])} sudo -n --preserve-env=KNOWN sh -s`;
    const { stdout } = await connection.exec(command, { input: probe, timeout: minutes(2) });
    const seen = parseProbe(stdout, known);
    if (seen.binary !== undefined && seen.binary !== known) writeWhole(path, JSON.stringify(seen.binary));
    return seen;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const open = await Promise.allSettled(this.#connections.values());
    await Promise.all(open.map((found) => (found.status === "fulfilled" ? found.value.close() : undefined)));
  }
}
