import { minutes, seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import type { Access } from "../run/access.ts";
import type { Kube, Manifest } from "../tools/kube.ts";
import type { PodState } from "../tools/kube-state.ts";

/** The tool image that every node has (Debian's busybox): nothing is pulled. */
export const toolImage = "kpi.lab/tools:1";
const limit = minutes(3);

export interface StartedPod {
  readonly node: string;
  readonly address: string;
  /** Id of its container on that node. */
  readonly container: string;
}

export interface StartedPods {
  readonly pods: readonly StartedPod[];
  readonly serviceAddress: string;
  readonly serviceName: string;
}

/** A volume's life: written by one pod, read by another after the first has gone. */
export interface StorageSeen {
  readonly written: string;
  /** What the second pod found. */
  readonly read: string;
  readonly writer: PodState;
  readonly reader: PodState;
  readonly claim: { readonly phase: string; readonly storageClass: string; readonly volume: string };
  readonly volume: { readonly node: string; readonly path: string; readonly reclaim: string };
}

/** All that the looks at networking and storage need in the cluster, made at once, in a namespace of its own. */
export interface Workload extends AsyncDisposable {
  readonly namespace: string;
  /** The pods on all nodes are ready. */
  readonly started: Promise<StartedPods>;
  storage(): Promise<StorageSeen>;
}

/** Applies everything in one go; nothing is waited for here. */
export async function startWorkload(access: Access): Promise<Workload> {
  const kube = access.kube();
  const namespace = `kpi-spec-${crypto.randomUUID().slice(0, 8)}`;
  const names = access.plan.nodes.map(({ name }) => name);
  const space: Manifest = { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } };
  const written = crypto.randomUUID();
  await create(kube, space);
  // Side by side, and without client-node: a discovery and a second of loading less.
  await Promise.all(
    [
      ...names.map((node) => webPod(namespace, node)),
      webService(namespace),
      volumeClaim(namespace),
      volumePod(namespace, "writer", `echo ${written} > /data/file && sync`),
    ].map((object) => create(kube, object)),
  );
  const started = startedPods(kube, namespace, names);
  started.catch(() => {}); // whoever needs the pods hears it
  return {
    namespace,
    started,
    storage: () => seeStorage(kube, namespace, written),
    // Gone in the background: the next workload has a name of its own.
    async [Symbol.asyncDispose]() {
      await kube.request(`/api/v1/namespaces/${namespace}`, { method: "DELETE" });
    },
  };
}

/** Creates one object of the core group. */
async function create(kube: Kube, object: Manifest): Promise<void> {
  const plural = `${object.kind?.toLowerCase()}s`;
  const { namespace } = object.metadata ?? {};
  const path = namespace === undefined ? `/api/v1/${plural}` : `/api/v1/namespaces/${namespace}/${plural}`;
  const headers = { "content-type": "application/json" };
  const { status, text } = await kube.request(path, { method: "POST", headers, body: JSON.stringify(object) });
  if (status !== 201)
    throw new KpiError("contract", `could not create ${object.kind} ${object.metadata?.name}`, {
      got: `${status}: ${text.slice(0, 200)}`,
    });
}

const meta = (namespace: string, name: string) => ({ name, namespace });

function webPod(namespace: string, node: string): Manifest {
  return pod(
    namespace,
    `web-${node}`,
    { app: "web" },
    {
      nodeName: node,
      containers: [
        {
          ...container,
          command: ["sh", "-c", `mkdir -p /www && echo ${node} > /www/index.html && exec httpd -f -p 8080 -h /www`],
          readinessProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
        },
      ],
    },
  );
}

const container = { name: "main", image: toolImage, imagePullPolicy: "Never" };

function pod(namespace: string, name: string, labels: object, spec: object): Manifest {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { ...meta(namespace, name), labels } as NonNullable<Manifest["metadata"]>,
    spec: { terminationGracePeriodSeconds: 0, automountServiceAccountToken: false, enableServiceLinks: false, ...spec },
  };
}

function webService(namespace: string): Manifest {
  const spec = { selector: { app: "web" }, ports: [{ port: 8080, targetPort: 8080 }] };
  return { apiVersion: "v1", kind: "Service", metadata: meta(namespace, "web"), spec };
}

function volumeClaim(namespace: string): Manifest {
  const spec = { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "10Mi" } } };
  return { apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: meta(namespace, "data"), spec };
}

function volumePod(namespace: string, name: string, command: string): Manifest {
  return pod(
    namespace,
    name,
    { app: name },
    {
      restartPolicy: "Never",
      hostNetwork: true, // it speaks to nobody, and a network of its own is three more programs to start
      containers: [
        { ...container, command: ["sh", "-c", command], volumeMounts: [{ name: "data", mountPath: "/data" }] },
      ],
      volumes: [{ name: "data", persistentVolumeClaim: { claimName: "data" } }],
    },
  );
}

async function startedPods(kube: Kube, namespace: string, nodes: readonly string[]): Promise<StartedPods> {
  const missing = (pods: readonly PodState[]) => {
    const waiting = nodes.flatMap((node) => {
      const found = pods.find(({ name }) => name === `web-${node}`);
      return found?.ready === true ? [] : [`pod on ${node}: ${found?.why ?? "not created"}`];
    });
    return waiting.length === 0 ? undefined : waiting.join("; ");
  };
  const pods = await kube.waitForPods(namespace, "a pod on every node", missing, { deadline: limit });
  const service = await get<{ spec: { clusterIP: string } }>(kube, `/api/v1/namespaces/${namespace}/services/web`);
  return {
    pods: pods
      .filter(({ labels }) => labels["app"] === "web")
      .map(({ node, ip, container }) => ({ node, address: ip, container })),
    serviceAddress: service.spec.clusterIP,
    serviceName: `web.${namespace}.svc.cluster.local`,
  };
}

async function seeStorage(kube: Kube, namespace: string, written: string): Promise<StorageSeen> {
  const writer = await finished(kube, namespace, "writer");
  await kube.request(`/api/v1/namespaces/${namespace}/pods/writer`, { method: "DELETE" });
  const gone = (pods: readonly PodState[]) =>
    pods.some(({ name }) => name === "writer") ? "writer is still there" : undefined;
  await kube.waitForPods(namespace, "the writer is gone", gone, { deadline: limit });
  await create(kube, volumePod(namespace, "reader", "cat /data/file"));
  const reader = await finished(kube, namespace, "reader");
  const base = `/api/v1/namespaces/${namespace}`;
  const [log, claim] = await Promise.all([
    kube.request(`${base}/pods/reader/log`),
    get<Claim>(kube, `${base}/persistentvolumeclaims/data`),
  ]);
  const volume = await get<Volume>(kube, `/api/v1/persistentvolumes/${claim.spec.volumeName}`);
  const terms = volume.spec.nodeAffinity?.required?.nodeSelectorTerms ?? [];
  return {
    written,
    read: log.text.trim(),
    writer,
    reader,
    claim: {
      phase: claim.status.phase,
      storageClass: claim.spec.storageClassName ?? "",
      volume: claim.spec.volumeName ?? "",
    },
    volume: {
      node: terms
        .flatMap(({ matchExpressions = [] }) => matchExpressions.flatMap(({ values = [] }) => values))
        .join(","),
      path: volume.spec.hostPath?.path ?? volume.spec.local?.path ?? "",
      reclaim: volume.spec.persistentVolumeReclaimPolicy ?? "",
    },
  };
}

interface Claim {
  readonly spec: { readonly storageClassName?: string; readonly volumeName?: string };
  readonly status: { readonly phase: string };
}
interface Volume {
  readonly spec: {
    readonly persistentVolumeReclaimPolicy?: string;
    readonly hostPath?: { readonly path: string };
    readonly local?: { readonly path: string };
    readonly nodeAffinity?: {
      readonly required?: {
        readonly nodeSelectorTerms?: readonly {
          readonly matchExpressions?: readonly { readonly values?: readonly string[] }[];
        }[];
      };
    };
  };
}

/** A pod that has run to its end, whichever. */
async function finished(kube: Kube, namespace: string, name: string): Promise<PodState> {
  const missing = (pods: readonly PodState[]) => {
    const found = pods.find((each) => each.name === name);
    return found?.phase === "Succeeded" || found?.phase === "Failed"
      ? undefined
      : `${name}: ${found?.why ?? "not created"}`;
  };
  const pods = await kube.waitForPods(namespace, `${name} has not ended`, missing, { deadline: limit });
  const found = pods.find((each) => each.name === name);
  if (found === undefined) throw new KpiError("claim", `${name} is gone`);
  return found;
}

async function get<T>(kube: Kube, path: string): Promise<T> {
  const { status, text } = await kube.request(path, { signal: AbortSignal.timeout(seconds(30)) });
  if (status !== 200)
    throw new KpiError("contract", `the API answers ${status} to ${path}`, { got: text.slice(0, 200) });
  return JSON.parse(text) as T;
}
