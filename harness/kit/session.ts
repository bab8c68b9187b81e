import { readFileSync } from "node:fs";
import { join } from "node:path";
import { orAborted } from "../core/deadline.ts";
import { minutes } from "../core/duration.ts";
import type { NodePlan, Plan } from "../core/plan.ts";
import { labEnded } from "../lab/lab.ts";
import type { Access } from "../run/access.ts";
import { type BinarySeen, knownBinary, seeBinary } from "../run/binary.ts";
import type { NodeConnection } from "../tools/ssh.ts";
import type { LoginAnswer, LoginAttempt } from "../tools/ssh-auth.ts";
import { type NodeHandle, connectLimit, nodeHandle } from "./node.ts";
import type { ProbePart } from "./node-looks.ts";
import type { NodeSeen } from "./node-seen.ts";

const tool = (name: string) => readFileSync(join(import.meta.dir, "..", "tools", name), "utf8");
const probe = tool("probe.sh");
/** Units, accounts, ssh's configuration and addresses: what a spec might have changed on a node and forgotten. */
const fingerprint = tool("fingerprint.sh");

/** The ways into a cluster while specs look at it: one connection a node, kept open, and each node probed once a look. */
export class Session implements AsyncDisposable {
  readonly #connections = new Map<string, Promise<NodeConnection>>();

  /** `strangers`: ways to get in that are tried on each connection before the operator's, for whoever wants to know what came of it. */
  constructor(
    readonly access: Access,
    readonly plan: Plan,
    private readonly strangers?: readonly LoginAttempt[],
  ) {}

  /** Looks or does something for as long as the lab runs. When that has ended, that is the error, whatever failed first. */
  async whileItRuns<T>(work: () => Promise<T>): Promise<T> {
    const { lab } = this.access;
    if (lab === undefined) return work();
    using watch = lab.watch();
    try {
      return await orAborted(watch.ended, work());
    } catch (error) {
      throw this.access.gone ? labEnded(lab.name) : error;
    }
  }

  /** A node, to do something on it. */
  node(name: string): NodeHandle {
    const planned = this.access.node(name);
    return nodeHandle(planned, this.access.cluster.name, () => this.connect(planned));
  }

  /** The connection to a node; a lost one is made anew. */
  connect(node: NodePlan): Promise<NodeConnection> {
    const { name } = node;
    const open = this.#connections.get(name);
    if (open !== undefined) return open;
    const before = this.strangers === undefined ? {} : { before: this.strangers };
    const opening = this.access.ssh(name, { deadline: connectLimit, ...before });
    this.#connections.set(name, opening);
    const forget = () => void (this.#connections.get(name) === opening && this.#connections.delete(name));
    opening.then((connection) => connection.closed.then(forget), forget);
    return opening;
  }

  /** What the node's door said to the strangers, and to the operator after them; undefined where none were sent. */
  async knocked(node: NodePlan): Promise<LoginAnswer | undefined> {
    return this.strangers === undefined ? undefined : (await this.connect(node)).login;
  }

  /** Ends the connection to a node whose machine has forgotten it: one that lost its power says nothing of that. */
  async drop(name: string): Promise<void> {
    const connection = await this.#connections.get(name)?.catch(() => undefined);
    await connection?.close();
  }

  /** What probe.sh prints of a node, in one round trip; before it, where that is wanted, what fingerprint.sh does, as a section of its own. */
  async probe(node: NodePlan, part: ProbePart, also?: "fingerprint"): Promise<string> {
    const connection = await this.connect(node);
    const input = also === undefined ? probe : `echo '@@ fingerprint'\n${fingerprint}\n${probe}`;
    return (await connection.exec(`sudo -n sh -s ${part}`, { input, timeout: minutes(2) })).stdout;
  }

  /** What fingerprint.sh prints of a node. */
  async fingerprint(node: NodePlan): Promise<string> {
    return (await (await this.connect(node)).exec("sudo -n sh -s", { input: fingerprint })).stdout;
  }

  /** The k3s of a node, which has been looked at; hashed once, as long as it is the same file. Undefined while none is installed. */
  async binary(node: NodePlan, { files }: NodeSeen): Promise<BinarySeen | undefined> {
    const file = files.find(({ path }) => path === "/usr/local/bin/k3s");
    if (file === undefined) return undefined;
    const { cluster } = this.access;
    const known = knownBinary(cluster, node.name);
    return known?.stamp === file.stamp ? known : seeBinary(cluster, node.name, await this.connect(node));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const open = await Promise.allSettled(this.#connections.values());
    await Promise.all(open.map((found) => (found.status === "fulfilled" ? found.value.close() : undefined)));
  }
}
