import type { Kube } from "../tools/kube.ts";
import { getJson } from "./get-json.ts";
import { type ApiNode, type ApiPod, type NodeState, nodeState, type PodState, podState } from "../tools/kube-state.ts";

/** A node as the API knows it. */
export interface ApiNodeSeen extends NodeState {
  readonly roles: readonly string[];
  readonly bootId: string;
  readonly unschedulable: boolean;
  /** Conditions other than Ready that are true: MemoryPressure, DiskPressure, PIDPressure, NetworkUnavailable. */
  readonly pressures: readonly string[];
}

export interface StorageClassSeen {
  readonly name: string;
  readonly provisioner: string;
  readonly isDefault: boolean;
  readonly binding: string;
}

/** What the API says about the cluster. */
export interface ApiSeen {
  /** `v1.34.3+lab1` */
  readonly version: string;
  readonly nodes: readonly ApiNodeSeen[];
  /** Of all namespaces. */
  readonly pods: readonly PodState[];
  readonly namespaces: readonly string[];
  readonly storageClasses: readonly StorageClassSeen[];
  /** Endpoints of kube-dns that are ready. */
  readonly dnsEndpoints: number;
  readonly dnsAddress: string;
}

interface Raw {
  readonly metadata: {
    readonly name: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [key: string]: unknown;
}

const list = async <T>(kube: Kube, path: string) => (await getJson<{ items: T[] }>(kube, path)).items;

/** How many endpoints of kube-dns are ready. */
export async function countDnsEndpoints(kube: Kube): Promise<number> {
  const slices = await list<{ endpoints?: { conditions?: { ready?: boolean } }[] | null }>(
    kube,
    "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices?labelSelector=kubernetes.io/service-name=kube-dns",
  );
  return slices.flatMap(({ endpoints }) => endpoints ?? []).filter(({ conditions }) => conditions?.ready).length;
}

/** Asks the API, with requests side by side. */
export async function seeApi(kube: Kube): Promise<ApiSeen> {
  const [{ gitVersion }, nodes, pods, namespaces, classes, dnsEndpoints, dns] = await Promise.all([
    getJson<{ gitVersion: string }>(kube, "/version"),
    list<ApiNode & Raw>(kube, "/api/v1/nodes"),
    list<ApiPod>(kube, "/api/v1/pods"),
    list<Raw>(kube, "/api/v1/namespaces"),
    list<Raw>(kube, "/apis/storage.k8s.io/v1/storageclasses"),
    countDnsEndpoints(kube),
    getJson<{ spec: { clusterIP: string } }>(kube, "/api/v1/namespaces/kube-system/services/kube-dns"),
  ]);
  return {
    version: gitVersion,
    nodes: nodes.map(apiNode),
    pods: pods.map(podState),
    namespaces: namespaces.map(({ metadata }) => metadata.name),
    storageClasses: classes.map(({ metadata, ["provisioner"]: provisioner, ["volumeBindingMode"]: binding }) => ({
      name: metadata.name,
      provisioner: String(provisioner),
      isDefault: metadata.annotations?.["storageclass.kubernetes.io/is-default-class"] === "true",
      binding: String(binding),
    })),
    dnsEndpoints,
    dnsAddress: dns.spec.clusterIP,
  };
}

function apiNode(node: ApiNode & Raw): ApiNodeSeen {
  const role = "node-role.kubernetes.io/";
  return {
    ...nodeState(node),
    roles: Object.keys(node.metadata.labels ?? {})
      .filter((label) => label.startsWith(role))
      .map((label) => label.slice(role.length))
      .sort(),
    bootId: node.status?.nodeInfo?.["bootID"] ?? "",
    unschedulable: node.spec?.unschedulable === true,
    pressures: (node.status?.conditions ?? [])
      .filter(({ type, status }) => type !== "Ready" && status === "True")
      .map(({ type }) => type),
  };
}
