import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { ticks } from "../core/deadline.ts";
import { type Duration, seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { projectRoot } from "../core/paths.ts";
import type { NodePlan, Plan } from "../core/plan.ts";
import { openLab, type RunningLab } from "../lab/lab.ts";
import { shellQuote } from "../tools/exec.ts";
import { type Kube, openKube } from "../tools/kube.ts";
import { rewriteKubeconfig } from "../tools/kubeconfig.ts";
import { Libvirt } from "../tools/libvirt.ts";
import { liveOwner } from "../tools/owner.ts";
import type { LoginAttempt } from "../tools/ssh-auth.ts";
import { renderKnownHosts, renderSshConfig } from "../tools/ssh-config.ts";
import { connectSsh, type NodeConnection } from "../tools/ssh.ts";
import { connectThrough, type Proxy, proxyUrl } from "../tools/tunnel.ts";
import { writeWhole } from "../tools/whole-file.ts";
import type { ClusterDir, ClusterState } from "./cluster.ts";
import { jumpCommand, openJump } from "./jump.ts";
import type { Secrets } from "./secrets.ts";
import { clusterSecrets } from "./secrets.ts";

export interface SshOptions {
  readonly signal?: AbortSignal;
  readonly deadline?: Duration;
  readonly booting?: boolean;
  /** Ways to get in that are tried before the operator's. */
  readonly before?: readonly LoginAttempt[];
}

/** The ways into one cluster: its nodes, its API, its libvirt. The same for a lab (through its proxy), a host's own network, and another machine's. */
export class Access {
  readonly secrets: Secrets;

  constructor(
    readonly cluster: ClusterDir,
    readonly plan: Plan,
    readonly lab: RunningLab | undefined,
    /** The way to nodes that only another machine reaches; see {@link openJump}. */
    readonly jump?: Proxy | undefined,
  ) {
    this.secrets = clusterSecrets(cluster, plan);
  }

  /** Whether its lab, if it is in one, has ended: then nothing is left of the cluster. */
  get gone(): boolean {
    return this.lab?.runs === false;
  }

  /** The proxy through which nodes are reached, where they are not by themselves. */
  get proxy(): Proxy | undefined {
    return this.lab?.proxy ?? this.jump;
  }

  get uri(): string {
    if (this.lab !== undefined) return this.lab.uri;
    return this.plan.host.kind === "libvirt" ? this.plan.host.uri : "";
  }

  get libvirt(): Libvirt {
    return new Libvirt(this.uri);
  }

  node(name: string): NodePlan {
    const node = this.plan.nodes.find((planned) => planned.name === name);
    if (node !== undefined) return node;
    throw new KpiError("spec", `there is no node ${JSON.stringify(name)} in cluster ${this.plan.cluster}`, {
      expected: this.plan.nodes.map((planned) => planned.name).join(", "),
    });
  }

  /** The file to which a node's serial console is written, boots before included; in labs only, and once the node has shown something. */
  consolePath(name: string): string | undefined {
    return this.lab === undefined ? undefined : join(this.lab.consoleDir.host, `${name}.log`);
  }

  get server(): NodePlan {
    const server = this.plan.nodes.find(({ role }) => role === "server");
    if (server === undefined) throw new Error("a plan without server");
    return server;
  }

  /**
   * Connects to a node, whose host key is known from the start. Throws a `host` error when that takes long and the node's machine does
   * not run, unless it is booting.
   */
  async ssh(name: string, options: SshOptions = {}): Promise<NodeConnection> {
    const over = new AbortController();
    const signal = options.signal === undefined ? over.signal : AbortSignal.any([options.signal, over.signal]);
    const connecting = this.#connect(name, { ...options, signal });
    if (options.booting === true) return connecting;
    try {
      return await Promise.race([connecting, this.#stopped(name, signal)]);
    } finally {
      over.abort();
    }
  }

  /**
   * Rejects when a node's machine does not run, though no kpi is at work on the cluster (a checkpoint stops it for seconds); later than a
   * connection to a running one takes. A libvirt that does not answer proves nothing.
   */
  async #stopped(name: string, signal: AbortSignal): Promise<never> {
    const beats = ticks(seconds(4), signal);
    await beats.next(); // the first is at once
    for await (const _ of beats) {
      const domain = await this.libvirt.domain(name, signal).catch(() => undefined);
      if (domain === undefined || domain.state === "running") continue;
      if (liveOwner(this.cluster.lockPath) === undefined) throw new KpiError("host", `${name} is ${domain.state}`);
    }
    throw signal.reason;
  }

  #connect(name: string, options: SshOptions): Promise<NodeConnection> {
    const { proxy } = this;
    const node = this.node(name);
    return connectSsh({
      host: node.address,
      user: this.plan.user,
      privateKey: this.secrets.user.privateKey,
      hostKey: this.secrets.hosts[name]?.publicKey ?? "",
      deadline: options.deadline ?? seconds(30),
      ...(options.booting === undefined ? {} : { booting: options.booting }),
      ...(options.before === undefined ? {} : { before: options.before }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      ...(proxy === undefined ? {} : { open: () => connectThrough(proxy, node.address, 22) }),
    });
  }

  /** The API, by the kubeconfig that `up` fetched. */
  kube(): Kube {
    if (!existsSync(this.kubeconfigPath)) {
      throw new KpiError("host", `cluster ${this.plan.cluster} has no kubeconfig yet`, {
        hint: "it is fetched when the control plane is up: kpi up",
      });
    }
    const proxy = this.jump === undefined ? {} : { proxy: { url: proxyUrl(this.jump) } }; // a lab's is in the kubeconfig
    return openKube({ kubeconfig: readFileSync(this.kubeconfigPath, "utf8"), ...proxy });
  }

  /** Takes the kubeconfig as it stands on the node, points it to the address (and proxy) at which it works from here, and keeps it 0600. */
  keepKubeconfig(fromNode: string): void {
    const proxy = this.lab?.proxy;
    const text = rewriteKubeconfig(fromNode, {
      server: this.plan.k3s.server,
      clusterName: this.cluster.name,
      ...(proxy === undefined ? {} : { proxyUrl: proxyUrl(proxy) }),
    });
    writeWhole(this.kubeconfigPath, text);
  }

  get kubeconfigPath(): string {
    return this.cluster.path("kubeconfig");
  }

  get sshConfigPath(): string {
    return this.cluster.path("ssh_config");
  }

  /** Writes what an ordinary `ssh -F` needs. */
  writeSshConfig(): void {
    const hosts = this.plan.nodes.map(({ name, address }) => ({
      name,
      address,
      hostKey: this.secrets.hosts[name]?.publicKey ?? "",
    }));
    const knownHostsFile = this.cluster.path("known_hosts");
    const throughLab = `${shellQuote([`${projectRoot}/kpi`, "proxy", this.cluster.labDir])} %h %p`;
    const jump = jumpCommand(this.plan);
    const proxyCommand = this.lab !== undefined ? throughLab : jump === undefined ? undefined : shellQuote(jump);
    writeWhole(knownHostsFile, renderKnownHosts(hosts));
    writeWhole(
      this.sshConfigPath,
      renderSshConfig({
        user: this.plan.user,
        identityFile: this.cluster.path("secrets", "id_ed25519"),
        knownHostsFile,
        hosts,
        ...(proxyCommand === undefined ? {} : { proxyCommand }),
      }),
    );
  }
}

/** Opens the ways into a cluster that this machine remembers. Throws a `host` error, saying what to do, when there is none or its lab is dead. */
export async function openAccess(cluster: ClusterDir): Promise<{ access: Access; state: ClusterState }> {
  const state = cluster.read();
  if (state === undefined) {
    throw new KpiError("host", `there is no cluster ${cluster.name}`, { hint: "make it with: kpi up" });
  }
  const lab = state.plan.host.kind === "lab" ? await openLab(cluster.labDir) : undefined;
  if (state.plan.host.kind === "lab" && lab === undefined) {
    throw new KpiError("host", `the lab of cluster ${cluster.name} does not run any more`, {
      hint: "the machine was restarted, or its processes were killed: kpi up makes the cluster again, kpi down forgets it",
    });
  }
  return { access: new Access(cluster, state.plan, lab, await openJump(state.plan)), state };
}

/** The ways into a cluster that may be gone meanwhile, it or its lab: undefined then. */
export function accessIfThere(cluster: ClusterDir): Promise<Access | undefined> {
  return openAccess(cluster).then(
    ({ access }) => access,
    () => undefined,
  );
}
