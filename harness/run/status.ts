import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Judgement, judgeStages, renderJudgement } from "../core/calibration.ts";
import { until } from "../core/deadline.ts";
import { milliseconds, seconds } from "../core/duration.ts";
import { renderError } from "../core/errors.ts";
import type { StageName } from "../core/event.ts";
import { projectRoot } from "../core/paths.ts";
import { table } from "../report/plan.ts";
import { shellQuote } from "../tools/exec.ts";
import { type Access, openAccess } from "./access.ts";
import type { ClusterDir, ClusterState } from "./cluster.ts";
import { readRecord } from "./run-files.ts";

/** One node as it is now: its domain by libvirt, its readiness by the API. */
export interface NodeStatus {
  readonly name: string;
  readonly role: string;
  readonly address: string;
  readonly mac: string;
  readonly domain: string;
  readonly kubelet: string;
  readonly version: string;
}

/** A cluster as it is now, and how to use it. */
export interface ClusterStatus {
  readonly cluster: string;
  readonly phase: ClusterState["phase"] | "dead";
  readonly spec: string;
  readonly plan: string;
  readonly distribution: string;
  readonly host: string;
  readonly uri: string;
  readonly api: string;
  readonly nodes: readonly NodeStatus[];
  readonly run: string;
  /** What the run took that made it, stage by stage, held against the spec's budgets; empty when its record is gone. */
  readonly timings: readonly (Judgement & { readonly stage: StageName })[];
  /** Pasteable commands that work with an ordinary kubectl and ssh. */
  readonly use: { readonly kubectl: string; readonly ssh: string };
}

/** Looks at libvirt and the API, each for a few seconds at most; what does not answer is shown as such. */
export async function clusterStatus(cluster: ClusterDir): Promise<ClusterStatus> {
  const { access, state } = await openAccess(cluster);
  const [domains, nodes] = await Promise.all([
    until("libvirt", seconds(5), () => access.libvirt.domains()).catch(() => []),
    until("api", milliseconds(4_000), (signal) => access.kube().nodes(signal)).catch(
      (error: unknown) => renderError(error).split("\n")[0] ?? "",
    ),
  ]);
  return {
    cluster: cluster.name,
    phase: state.phase,
    spec: state.spec,
    plan: state.plan.digest,
    distribution: `${state.plan.k3s.distribution} ${state.plan.k3s.version}`,
    host: state.plan.host.kind,
    uri: access.uri,
    api: typeof nodes === "string" ? nodes : `${access.plan.k3s.server} answers`,
    run: state.run,
    timings: timings(cluster, state),
    use: useCommands(access),
    nodes: state.plan.nodes.map((node) => {
      const seen = typeof nodes === "string" ? undefined : nodes.find(({ name }) => name === node.name);
      return {
        name: node.name,
        role: node.role,
        address: node.address,
        mac: node.mac,
        domain: domains.find(({ name }) => name === node.name)?.state ?? "absent",
        kubelet: seen === undefined ? "unknown" : seen.ready ? "Ready" : "NotReady",
        version: seen?.kubeletVersion ?? "",
      };
    }),
  };
}

function timings(cluster: ClusterDir, { run, plan }: ClusterState): ClusterStatus["timings"] {
  const dir = join(cluster.runsDir, run);
  return existsSync(join(dir, "events.ndjson")) ? judgeStages(readRecord(dir), plan) : [];
}

/** The two commands that `up` ends with. */
export function useCommands(access: Access): { kubectl: string; ssh: string } {
  return {
    kubectl: shellQuote(
      access.jump === undefined
        ? ["kubectl", "--kubeconfig", access.kubeconfigPath, "get", "nodes"]
        : [join(projectRoot, "kpi"), "kubectl", "--cluster", access.cluster.name, "get", "nodes"], // through the hypervisor
    ),
    ssh: shellQuote(["ssh", "-F", access.sshConfigPath, access.server.name]),
  };
}

export function renderStatus(status: ClusterStatus): string {
  return [
    `cluster ${status.cluster}: ${status.phase} (${status.distribution}, ${status.host})`,
    "",
    table(
      ["node", "role", "address", "domain", "kubelet", "version"],
      status.nodes.map((node) => [node.name, node.role, node.address, node.domain, node.kubelet, node.version]),
    ),
    "",
    `api      ${status.api}`,
    `libvirt  ${status.uri}`,
    `run      ${status.run}`,
    ...status.timings.map((judged) => `${judged.stage.padEnd(8)} ${renderJudgement(judged)}`),
    `spec     ${status.spec} (${join(projectRoot, "kpi")} plan)`,
    "",
    status.use.kubectl,
    status.use.ssh,
  ].join("\n");
}
