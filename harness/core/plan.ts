import { createHash } from "node:crypto";
import type { Duration } from "./duration.ts";
import { KpiError } from "./errors.ts";
import type { StageName } from "./event.ts";
import type { ClusterSpec, NodeSpec } from "./spec.ts";

/** Where libvirt runs: in a lab of this machine, or behind a libvirt URI. */
export type Host = { readonly kind: "lab" } | { readonly kind: "libvirt"; readonly uri: string };

/** A file that a node fetches at first boot, and the supply that it comes from. */
export interface ArtefactPlan {
  readonly supply: string;
  readonly file: string;
  readonly url: string;
}

export interface NodePlan {
  readonly name: string;
  readonly role: NodeSpec["role"];
  readonly address: string;
  /** Lower case, colons; derived from cluster and node name, so the same node always has the same one. */
  readonly mac: string;
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly diskGiB: number;
}

export interface StagePlan {
  readonly name: StageName;
  readonly needs: readonly StageName[];
  /** Asserted; absent where the spec promises none. */
  readonly budget?: Duration;
  /** Hang guard, never asserted. */
  readonly deadline: Duration;
}

/** Everything that follows from a spec before anything runs. Holds no secret, no path of this machine and no measured value. */
export interface Plan {
  readonly cluster: string;
  readonly host: Host;
  readonly network: {
    readonly name: string;
    readonly cidr: string;
    readonly gateway: string;
    readonly dns: readonly string[];
    readonly interface: string;
    /** Names that a node must be able to resolve before it touches k3s. */
    readonly requiredNames: readonly string[];
  };
  readonly k3s: {
    readonly distribution: ClusterSpec["k3s"]["distribution"];
    readonly version: string;
    readonly server: string;
    readonly podCidr: string;
    readonly serviceCidr: string;
    readonly disable: readonly string[];
    readonly binary: ArtefactPlan;
    readonly images: ArtefactPlan;
  };
  readonly image: {
    readonly name: string;
    readonly source: string;
    readonly pool: string;
    readonly boot: "disk" | "direct";
  };
  readonly user: string;
  readonly nodes: readonly NodePlan[];
  readonly stages: readonly StagePlan[];
  /** What the host must have free. */
  readonly needs: { readonly memoryMiB: number; readonly cpus: number; readonly diskGiB: number };
  /** sha256 of all of the above, hex. Equal digests mean the same cluster. */
  readonly digest: string;
}

/** The name under which a lab serves what its guests need. RFC 6761 reserves `.test`, so it never means anything outside. */
export const artefactHost = "artifacts.kpi.test";

const files = {
  k3s: { binary: "k3s", images: "k3s-airgap-images-amd64.tar.zst" },
  "k3s-lab": { binary: "k3s", images: "k3s-airgap-images-amd64.tar" },
} as const;

/** Derives the plan. Pure: the same spec and host give the same plan, byte for byte. Throws a `spec` error when they do not go together. */
export function planCluster(spec: ClusterSpec, host: Host): Plan {
  const { distribution, version, mirror } = spec.k3s;
  if (host.kind === "libvirt" && distribution === "k3s-lab" && mirror === undefined) {
    throw new KpiError(
      "spec",
      `k3s.distribution: k3s-lab has no release that guests on ${host.uri} could fetch, and the spec names no mirror`,
      {
        expected:
          "distribution k3s, --host lab, or k3s.mirror: the URL of a directory with its files (kpi supplies shows where they are here)",
        got: `distribution k3s-lab on --host ${host.uri}`,
      },
    );
  }
  const release = `https://github.com/k3s-io/k3s/releases/download/${encodeURIComponent(version)}/`;
  const base = host.kind === "lab" ? `http://${artefactHost}/` : (mirror ?? release);
  const artefact = (file: string): ArtefactPlan => ({ supply: distribution, file, url: base + file });
  const server = spec.nodes.find((node) => node.role === "server");
  if (server === undefined) throw new KpiError("spec", "nodes: no server among them");
  const nodes = spec.nodes.map((node) => planNode(spec.name, node));
  const sum = (pick: (node: NodePlan) => number) => nodes.reduce((total, node) => total + pick(node), 0);

  const plan: Omit<Plan, "digest"> = {
    cluster: spec.name,
    host,
    network: {
      name: spec.network.name,
      cidr: spec.network.cidr,
      gateway: spec.network.gateway,
      dns: spec.network.dns,
      interface: spec.network.interface,
      requiredNames: [new URL(base).hostname],
    },
    k3s: {
      distribution,
      version,
      server: `https://${server.address}:6443`,
      podCidr: spec.k3s.podCidr,
      serviceCidr: spec.k3s.serviceCidr,
      disable: spec.k3s.disable,
      binary: artefact(files[distribution].binary),
      images: artefact(files[distribution].images),
    },
    image: { name: spec.image.name, source: spec.image.source, pool: spec.image.pool, boot: spec.image.boot },
    user: spec.guest.user,
    nodes,
    stages: planStages(spec),
    needs: {
      memoryMiB: sum((node) => node.memoryMiB),
      cpus: Math.max(...nodes.map((node) => node.cpus)),
      diskGiB: sum((node) => node.diskGiB),
    },
  };
  return { ...plan, digest: digest(plan) };
}

function planNode(cluster: string, { name, role, address, machine }: NodeSpec): NodePlan {
  return { name, role, address, mac: macAddress(cluster, name), ...machine };
}

/** 52:54:00 is QEMU's prefix; the rest is the first three bytes of sha256 of "cluster/node". */
export function macAddress(cluster: string, node: string): string {
  const hash = createHash("sha256").update(`${cluster}/${node}`).digest();
  return ["52", "54", "00", ...[...hash.subarray(0, 3)].map((byte) => byte.toString(16).padStart(2, "0"))].join(":");
}

/**
 * A stage may take four times its budget, and what it needs on a crowded machine at least, before it counts as hung; stages without
 * a budget get what their work needs on a slow machine. Where budgets are stretched the engine stretches these as well.
 */
function planStages({ budgets }: ClusterSpec): StagePlan[] {
  const minute = 60_000;
  const hang = (budget: Duration, least: number) => Math.max(4 * budget, least * minute) as Duration;
  const unbudgeted = (name: StageName, needs: StageName[], deadline: number): StagePlan => ({
    name,
    needs,
    deadline: deadline as Duration,
  });
  const budgeted = (name: keyof ClusterSpec["budgets"], needs: StageName[], least: number): StagePlan => ({
    name,
    needs,
    budget: budgets[name],
    deadline: hang(budgets[name], least),
  });
  return [
    unbudgeted("doctor", [], 15 * minute),
    unbudgeted("supplies", ["doctor"], 45 * minute),
    unbudgeted("image", ["supplies"], 30 * minute),
    unbudgeted("apply", ["image"], 5 * minute),
    budgeted("boot", ["apply"], 10),
    budgeted("network", ["boot"], 10),
    budgeted("install", ["network"], 20),
    budgeted("ready", ["apply"], 30),
  ];
}

/** sha256 in hex of a value as JSON with sorted keys, so that the order in which it was built does not matter. */
export function digest(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value, sortKeys)).digest("hex");
}

function sortKeys(_key: string, value: unknown): unknown {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
