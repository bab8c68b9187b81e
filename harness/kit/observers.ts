import { KpiError } from "../core/errors.ts";
import type { StageName } from "../core/event.ts";
import type { NodePlan } from "../core/plan.ts";
import { kpiPaths } from "../core/paths.ts";
import { inspectSupplies, loadLock } from "../supplies/supplies.ts";
import type { BinarySeen } from "../run/binary.ts";
import { coldRun, readRecord } from "../run/run-files.ts";
import { countDhcp } from "../lab/dhcp.ts";
import { readSeen, type RecordedSeen } from "../run/seen.ts";
import { type AccessSeen, seeAccess } from "./access-seen.ts";
import { type ApiSeen, seeApi } from "./api-seen.ts";
import type { NodeNetworkSeen } from "./node-network-seen.ts";
import type { NodeSeen } from "./node-seen.ts";
import { NodeLooks } from "./node-looks.ts";
import { type IdempotenceSeen, seeIdempotence } from "./idempotence-seen.ts";
import { type ImageSeen, seeImage } from "./image-seen.ts";
import { seeTraffic, type TrafficSeen } from "./traffic-seen.ts";
import type { StorageSeen, Workload } from "./workload.ts";
import type { Session } from "./session.ts";
import type { SharedRun } from "./shared-run.ts";

/** All nodes, each seen from within. Asking for one that could not be looked at throws why. */
export interface NodesSeen<Node = NodeSeen> {
  readonly nodes: Readonly<Record<string, Node>>;
}

/** The nodes' network as soon as it is as planned, and what passed between them until they were looked at. */
export interface NetworkSeen extends NodesSeen<NodeNetworkSeen> {
  /** Packets of DHCP on the lab's bridge since the lab began: before the first boot, or at a checkpoint. Undefined where the hypervisor is not a lab. */
  readonly dhcpPackets: number | undefined;
}

/** The nodes as machines, and whose they are. */
export interface MachineSeen extends NodesSeen {
  /** The operator's public key, `ssh-ed25519 AAAA...`. */
  readonly operatorKey: string;
}

/** The nodes after the installation, and what was to be installed. */
export interface InstallSeen extends NodesSeen {
  /** sha256 of each file of the k3s supply, as this machine holds it. */
  readonly artefacts: Readonly<Record<string, string>>;
  /** The k3s on each node; undefined where none is installed. */
  readonly binaries: Readonly<Record<string, BinarySeen | undefined>>;
}

/** What pods said to each other, and where each node's own belong. */
export interface NetworkingSeen extends NodesSeen, TrafficSeen {
  /** By node, as the API has given it: `10.42.1.0/24`. */
  readonly podNetworks: Readonly<Record<string, string>>;
}

export interface ReadySeen extends NodesSeen {
  readonly api: ApiSeen;
  /** How long the stages of its cold start took, in milliseconds; for a cluster from a checkpoint, of the run that made that. */
  readonly took: Readonly<Partial<Record<StageName, number>>>;
  /** By how much budgets are stretched on the machine of that run. */
  readonly factor: number;
}

/** What there is to see after each stage. The four at the end are looks at a Ready cluster that take a while. */
export interface SeenAt {
  readonly network: NetworkSeen;
  /** The machines as soon as they are in the network: accounts, ssh, disk, first boot. */
  readonly machine: MachineSeen;
  readonly install: InstallSeen;
  readonly ready: ReadySeen;
  readonly access: AccessSeen;
  readonly networking: NetworkingSeen;
  readonly storage: StorageSeen;
  readonly image: ImageSeen;
  readonly idempotent: IdempotenceSeen;
}

/** A thing to look at: after which stage, and how. */
export interface Observer<T> {
  readonly after: StageName;
  /** Whether it asks for whole nodes, and not only for their network. */
  readonly wholeNodes?: true;
  /** Sets going what then takes its time in the cluster; done for all looks that are to come before the first of them looks. */
  begin?(look: Look): Promise<unknown>;
  observe(look: Look): Promise<T>;
}

/** What an observer looks through. */
export interface Look {
  readonly run: SharedRun;
  readonly session: Session;
  /** What the run's own stages saw. */
  readonly recorded: RecordedSeen;
  /** The nodes from within; once for all that look after the same stage. */
  readonly nodes: NodeLooks;
  /**
   * Resolves when all other looks that are under way have been taken, but for those that mostly wait for pods: for a look whose own time
   * is judged.
   */
  others(): Promise<void>;
  /** The pods that the looks at networking and storage share; made when first asked for. */
  workload(): Promise<Workload>;
  readonly spec: string;
}

export const observers: { readonly [At in keyof SeenAt]: Observer<SeenAt[At]> } = {
  network: {
    after: "network",
    async observe(look) {
      const { lab } = look.session.access;
      const nodes = { nodes: await eachNode(look, (node) => look.nodes.network(node)) };
      return join(nodes, { dhcpPackets: lab === undefined ? undefined : await countDhcp(lab) });
    },
  },
  machine: {
    after: "network",
    wholeNodes: true,
    async observe(look) {
      const { publicKey } = look.session.access.secrets.user;
      return join(await seeNodes(look), { operatorKey: publicKey.split(" ").slice(0, 2).join(" ") });
    },
  },
  install: {
    after: "install",
    wholeNodes: true,
    async observe(look) {
      const [nodes, binaries, files] = await Promise.all([seeNodes(look), seeBinaries(look), artefacts(look)]);
      return join(nodes, { artefacts: files, binaries });
    },
  },
  ready: {
    after: "ready",
    wholeNodes: true,
    async observe(look) {
      const [nodes, api] = await Promise.all([seeNodes(look), seeApi(look.session.access.kube())]);
      return join(nodes, { api, ...times(look) });
    },
  },
  access: { after: "ready", observe: ({ session }) => seeAccess(session) },
  networking: {
    after: "ready",
    wholeNodes: true,
    begin: (look) => look.workload(),
    async observe(look) {
      const traffic = async () => seeTraffic(look.session, await look.workload());
      const [nodes, seen, networks] = await Promise.all([
        seeNodes(look),
        traffic().catch(untold<TrafficSeen>("pods", "serviceAddress", "serviceName", "frames")),
        podNetworks(look).catch(untold<Pick<NetworkingSeen, "podNetworks">>("podNetworks")),
      ]);
      return join(join(nodes, seen), networks);
    },
  },
  storage: {
    after: "ready",
    begin: (look) => look.workload(),
    observe: async (look) => (await look.workload()).storage(),
  },
  image: {
    after: "apply",
    observe: ({ recorded, run, session }) => {
      const state = run.cluster.read();
      if (state === undefined) throw new KpiError("host", "the cluster is gone");
      return seeImage(session.access, recorded, state);
    },
  },
  idempotent: {
    after: "ready",
    observe: ({ session, spec, others }) => seeIdempotence(session.access, spec, others),
  },
};

/** The nodes at one moment, for looks at these stages; `over` when the cluster has been Ready. */
export function nodesFor(session: Session, stages: readonly (keyof SeenAt)[], over: boolean): NodeLooks {
  const whole = stages.some((stage) => observers[stage].wholeNodes);
  const wanted = whole ? "whole" : stages.includes("network") ? "network" : undefined;
  return new NodeLooks(session, wanted, over ? "over" : "whole");
}

function times({ run }: Look): Pick<ReadySeen, "took" | "factor"> {
  const cold = coldRun(run.dir);
  const { stages, factor = 1 } = cold === run.dir ? run.record() : readRecord(cold);
  const passed = stages.filter(({ state, elapsed }) => state === "passed" && elapsed !== undefined);
  return {
    took: Object.fromEntries(passed.map(({ stage, elapsed }) => [stage, elapsed])),
    factor,
  };
}

/** Adds to an object without touching its getters, which a spread would call. */
function join<A extends object, B extends object>(base: A, more: B): A & B {
  return Object.defineProperties(base, Object.getOwnPropertyDescriptors(more)) as A & B;
}

async function seeNodes(look: Look): Promise<NodesSeen> {
  return { nodes: await eachNode(look, (node) => look.nodes.node(node)) };
}

function seeBinaries(look: Look): Promise<InstallSeen["binaries"]> {
  return eachNode(look, async (node) => look.session.binary(node, await look.nodes.node(node)));
}

/** Looks at every node, side by side. */
async function eachNode<T>(look: Look, see: (node: NodePlan) => Promise<T>): Promise<Readonly<Record<string, T>>> {
  const { nodes } = look.run.plan;
  const looks = await Promise.allSettled(nodes.map(see));
  const seen: Record<string, T> = {};
  looks.forEach((result, index) => {
    const name = nodes[index]?.name ?? "";
    // One node that cannot be looked at must not take the claims on the others with it.
    const get = () => {
      if (result.status === "fulfilled") return result.value;
      throw unseen(name, result.reason);
    };
    Object.defineProperty(seen, name, { get, enumerable: true });
  });
  return seen;
}

async function podNetworks({ session }: Look): Promise<Pick<NetworkingSeen, "podNetworks">> {
  const nodes = await session.access.kube().nodes();
  return { podNetworks: Object.fromEntries(nodes.map(({ name, podCidr }) => [name, podCidr])) };
}

/** Pods that did not start, or an API that did not answer, must not take the claims on the nodes with them. */
const untold =
  <T>(...names: readonly (keyof T & string)[]) =>
  (error: unknown): T => {
    const get = () => {
      throw error;
    };
    return Object.defineProperties({}, Object.fromEntries(names.map((name) => [name, { get, enumerable: true }]))) as T;
  };

function unseen(node: string, reason: unknown): KpiError {
  if (reason instanceof KpiError)
    return new KpiError(reason.kind, `${node} cannot be looked at: ${reason.what}`, { details: reason.details });
  return new KpiError("claim", `${node} cannot be looked at: ${String(reason)}`);
}

/** By the run's own record; a run without one (it came from a checkpoint) used what the cache holds now, or its plan would differ. */
async function artefacts({ recorded, run }: Look): Promise<Readonly<Record<string, string>>> {
  const { binary, images, distribution } = run.plan.k3s;
  const known = recorded.supplies?.[distribution]?.files ?? (await cachedFiles(distribution));
  const wanted = [binary.file, images.file].filter((file) => !/^[0-9a-f]{64}$/.test(known[file] ?? ""));
  if (wanted.length > 0) throw new KpiError("contract", `no hash is known of ${wanted.join(", ")} of ${distribution}`);
  return known;
}

async function cachedFiles(supply: string): Promise<Readonly<Record<string, string>>> {
  const { cache } = kpiPaths();
  const [view] = await inspectSupplies({ lock: await loadLock(), cache, names: [supply] });
  return Object.fromEntries(Object.entries(view?.files ?? {}).map(([file, { sha256 }]) => [file, sha256]));
}

export function recordedSeen(run: SharedRun): RecordedSeen {
  return readSeen(run.dir);
}
