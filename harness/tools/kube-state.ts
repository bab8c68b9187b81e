import type { ApiObject } from "./kube-watch.ts";

/** What kpi reads of a Node as the API sends it. */
export interface ApiNode extends ApiObject {
  readonly metadata: ApiObject["metadata"] & { readonly name: string; readonly creationTimestamp?: string };
  readonly spec?: { readonly podCIDR?: string; readonly unschedulable?: boolean };
  readonly status?: {
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason?: string;
      readonly message?: string;
      readonly lastTransitionTime?: string;
    }[];
    readonly addresses?: readonly { readonly type: string; readonly address: string }[];
    readonly nodeInfo?: Readonly<Record<string, string>>;
  };
}

/** One node as kpi speaks of it. Times are ISO 8601 by the cluster's clock. */
export interface NodeState {
  readonly name: string;
  readonly ready: boolean;
  /** Why it is not ready, in the kubelet's words; empty when it is. */
  readonly why: string;
  /** When Ready last changed. */
  readonly since: string;
  readonly createdAt: string;
  readonly internalIp: string;
  readonly kubeletVersion: string;
  readonly podCidr: string;
  readonly machineId: string;
  /** Another one after each boot, as /proc/sys/kernel/random/boot_id says it. */
  readonly bootId: string;
  readonly osImage: string;
  readonly kernel: string;
  readonly runtime: string;
}

export function nodeState(node: ApiNode): NodeState {
  const ready = node.status?.conditions?.find(({ type }) => type === "Ready");
  const info = node.status?.nodeInfo ?? {};
  const isReady = ready?.status === "True";
  return {
    name: node.metadata.name,
    ready: isReady,
    why: isReady ? "" : (ready?.message ?? ready?.reason ?? "its kubelet has not reported yet"),
    since: ready?.lastTransitionTime ?? "",
    createdAt: node.metadata.creationTimestamp ?? "",
    internalIp: node.status?.addresses?.find(({ type }) => type === "InternalIP")?.address ?? "",
    kubeletVersion: info["kubeletVersion"] ?? "",
    podCidr: node.spec?.podCIDR ?? "",
    machineId: info["machineID"] ?? "",
    bootId: info["bootID"] ?? "",
    osImage: info["osImage"] ?? "",
    kernel: info["kernelVersion"] ?? "",
    runtime: info["containerRuntimeVersion"] ?? "",
  };
}

/** What kpi reads of a Lease: the sign of life that a kubelet renews every ten seconds. */
export interface ApiLease extends ApiObject {
  readonly spec?: { readonly renewTime?: string };
}

/** One node's sign of life. `renewedAt` is in milliseconds since 1970 by the node's own clock; 0 when it never came. */
export interface LeaseState {
  readonly node: string;
  readonly renewedAt: number;
}

export function leaseState(lease: ApiLease): LeaseState {
  const renewedAt = Date.parse(lease.spec?.renewTime ?? "");
  return { node: lease.metadata?.name ?? "", renewedAt: Number.isNaN(renewedAt) ? 0 : renewedAt };
}

/** What is still wanted until all these nodes are Ready; undefined when they are. */
export function nodesMissing(names: readonly string[], seen: readonly NodeState[]): string | undefined {
  const wanted = names.flatMap((name) => {
    const node = seen.find((each) => each.name === name);
    if (node === undefined) return [`${name} has not joined`];
    return node.ready ? [] : [`${name} is not ready: ${node.why}`];
  });
  return wanted.length === 0 ? undefined : wanted.join("; ");
}

/** What kpi reads of a Pod as the API sends it. */
export interface ApiPod extends ApiObject {
  readonly metadata: ApiObject["metadata"] & {
    readonly name: string;
    readonly namespace: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly spec?: { readonly nodeName?: string };
  readonly status?: {
    readonly phase?: string;
    readonly podIP?: string;
    readonly reason?: string;
    readonly message?: string;
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message?: string }[];
    readonly containerStatuses?: readonly {
      readonly name: string;
      readonly restartCount: number;
      readonly containerID?: string;
      readonly state?: Readonly<
        Record<string, { readonly reason?: string; readonly message?: string; readonly exitCode?: number }>
      >;
    }[];
  };
}

export interface PodState {
  readonly namespace: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly node: string;
  readonly ip: string;
  /** Pending, Running, Succeeded, Failed or Unknown. */
  readonly phase: string;
  readonly ready: boolean;
  readonly restarts: number;
  /** Why it does not run: what its containers wait for or ended with, else what the scheduler says; empty when it is ready. */
  readonly why: string;
  /** Id of the first container by its runtime, without the runtime's name; empty until it is made. */
  readonly container: string;
  /** Of the first container, once it has ended. */
  readonly exitCode?: number;
}

export function podState(pod: ApiPod): PodState {
  const { conditions = [], containerStatuses: containers = [], phase = "Unknown", podIP = "" } = pod.status ?? {};
  const ready = conditions.some(({ type, status }) => type === "Ready" && status === "True");
  const held = containers.flatMap(({ name, state = {} }) =>
    Object.entries(state)
      .filter(([is, { reason }]) => is !== "running" && reason !== "Completed")
      .map(([, { reason = "", message }]) => `${name}: ${[reason, message].filter(Boolean).join(", ")}`),
  );
  const condition = conditions.find(({ status, message }) => status === "False" && message)?.message;
  const exitCode = containers[0]?.state?.["terminated"]?.exitCode;
  return {
    namespace: pod.metadata.namespace,
    name: pod.metadata.name,
    labels: pod.metadata.labels ?? {},
    node: pod.spec?.nodeName ?? "",
    ip: podIP,
    phase,
    ready,
    restarts: containers.reduce((total, { restartCount }) => total + restartCount, 0),
    why: ready ? "" : held.join("; ") || pod.status?.message || condition || pod.status?.reason || phase,
    container: containers[0]?.containerID?.replace(/^.*:\/\//, "") ?? "",
    ...(exitCode === undefined ? {} : { exitCode }),
  };
}

/** What kpi reads of an Event as the API sends it. */
export interface ApiEvent extends ApiObject {
  readonly type?: string;
  readonly reason?: string;
  readonly message?: string;
  readonly count?: number;
  readonly lastTimestamp?: string | null;
  readonly eventTime?: string | null;
  readonly involvedObject?: { readonly kind?: string; readonly namespace?: string; readonly name?: string };
}

export interface EventState {
  readonly at: string;
  readonly warning: boolean;
  /** `Pod kube-system/coredns-x` */
  readonly about: string;
  readonly reason: string;
  readonly message: string;
  readonly count: number;
}

export function eventState(event: ApiEvent): EventState {
  const { kind = "", namespace, name = "" } = event.involvedObject ?? {};
  return {
    at: event.lastTimestamp ?? event.eventTime ?? "",
    warning: event.type === "Warning",
    about: `${kind} ${namespace ? `${namespace}/` : ""}${name}`,
    reason: event.reason ?? "",
    message: event.message ?? "",
    count: event.count ?? 1,
  };
}
