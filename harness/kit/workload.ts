import { notYet, until } from "../core/deadline.ts";
import { minutes } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import type { Access } from "../run/access.ts";
import { declareObjects } from "../run/objects.ts";
import type { Kube, Manifest } from "../tools/kube.ts";
import type { PodState } from "../tools/kube-state.ts";
import { getJson } from "./get-json.ts";

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
  /** What the second pod, which goes on, found. */
  readonly read: string;
  readonly writer: PodState;
  readonly reader: PodState;
  readonly claim: { readonly phase: string; readonly storageClass: string; readonly volume: string };
  readonly volume: { readonly node: string; readonly path: string; readonly reclaim: string };
}

/** All that the looks at networking and storage need in the cluster, in a namespace of its own. */
export interface Workload extends AsyncDisposable {
  /** The pods on all nodes are ready. */
  readonly started: Promise<StartedPods>;
  storage(): Promise<StorageSeen>;
}

/**
 * Applies everything that can be there at once; nothing is waited for here. A pod costs an emulated cluster three to five seconds of
 * CPU, so there are few: the one on the server serves like the others, and is the one that finds what the writer has left.
 */
export async function startWorkload(access: Access): Promise<Workload> {
  const kube = access.kube();
  const namespace = `kpi-spec-${crypto.randomUUID().slice(0, 8)}`;
  const server = access.plan.nodes.find(({ role }) => role === "server")?.name ?? "";
  const others = access.plan.nodes.flatMap(({ name }) => (name === server ? [] : [name]));
  const text = crypto.randomUUID();
  // Without client-node: a discovery and a second of loading less. A pod whose claim is not there yet is tried again much later.
  const home = { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } };
  const intent = declareObjects(access.cluster, [home]);
  // Gone in the background: the next workload has a name of its own. Not left to the namespace: what is in one goes five seconds after it
  // was told to, when somebody may be waiting for the cluster again, and of a service all nodes hear each time one of its pods ends.
  const remove = async () => {
    const path = `/api/v1/namespaces/${namespace}`;
    const going = ["", "/services/web", "/pods"].map((objects) =>
      kube.request(`${path}${objects}`, { method: "DELETE" }),
    );
    try {
      const [answer] = await Promise.all(going);
      if (answer?.status === 200 || answer?.status === 404) intent.settle(); // otherwise the next command tries again
    } catch (error) {
      if (!access.gone) throw error;
      intent.settle();
    }
  };
  try {
    await create(kube, home);
    await create(kube, volumeClaim(namespace));
    await Promise.all(
      [
        refusedPod(namespace, server),
        writerPod(namespace, server, text),
        ...others.map((node) => webPod(namespace, node)),
      ].map((object) => create(kube, object)),
    );
  } catch (error) {
    await remove().catch(() => {}); // the first error is the one that counts
    throw error;
  }
  const writing = writtenVolume(kube, namespace);
  const serving = writing
    .then(() => create(kube, webPod(namespace, server, "volume")))
    .then(() => servingPods(kube, namespace, [server, ...others]));
  const behind = others[0] ?? server;
  const serviced = (behind === server ? serving : servingPods(kube, namespace, [behind])).then(() =>
    create(kube, webService(namespace, behind)),
  );
  const started = Promise.all([serving, serviced]).then(([pods]) => seeService(kube, namespace, pods));
  started.catch(() => {}); // whoever needs the pods hears it
  return {
    started,
    async storage() {
      const [writer, pods] = await Promise.all([writing, serving]);
      const reader = pods.find(({ node }) => node === server);
      if (reader === undefined) throw new KpiError("claim", `no pod serves on ${server}`);
      return seeStorage(kube, namespace, { written: text, writer, reader });
    },
    [Symbol.asyncDispose]: remove,
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

/**
 * Serves its node's name over HTTP; with a volume it first prints what is in it. Whoever speaks to it tries again: a probe that asks an
 * emulated node each second costs more, and tells a second later.
 */
function webPod(namespace: string, node: string, volume?: "volume"): Manifest {
  const serve = `mkdir -p /www && echo ${node} > /www/index.html && exec httpd -f -p 8080 -h /www`;
  const command = ["sh", "-c", volume === undefined ? serve : `cat /data/file; ${serve}`];
  const main = { ...container, command };
  const data = volume === undefined ? { containers: [main] } : withVolume(main);
  return pod(namespace, webName(node), { app: "web", node }, { nodeName: node, ...data });
}

const webName = (node: string) => `web-${node}`;

/**
 * Writes a text into the volume, and says so: a probe asks each second, and tells as much later. The scheduler must place it: a volume is
 * made where its first pod is. It does not end by itself, because a kubelet takes seconds to tell, but when it is told to: two programs
 * less than having it killed. It shares its node's network, because one of its own costs three.
 */
function writerPod(namespace: string, node: string, text: string): Manifest {
  const script = `set -e; echo ${text} > /data/file; sync; echo ${written}; trap exit TERM; sleep 3600 & wait`;
  const command = ["sh", "-c", script];
  const place = { hostNetwork: true, nodeSelector: { "kubernetes.io/hostname": node } };
  return pod(namespace, writerName, {}, { ...place, ...withVolume({ ...container, command }) });
}

const written = "written";
const writerName = "writer";

/**
 * Uses the volume on paper: its node refuses to run it. A node may only ask for claims of its own pods; it hears of a new pod as early as
 * the API server's authorizer does, and when it asks too early, the pod is tried again 10 to 20 s later. For as long as this one is
 * known, the node may ask.
 */
function refusedPod(namespace: string, node: string): Manifest {
  const elsewhere = { nodeName: node, nodeSelector: { "kubernetes.io/hostname": "nowhere" } };
  return pod(namespace, "refused", {}, { ...elsewhere, ...withVolume({ ...container, command: ["true"] }) });
}

const withVolume = (main: object) => ({
  containers: [{ ...main, volumeMounts: [{ name: "data", mountPath: "/data" }] }],
  volumes: [{ name: "data", persistentVolumeClaim: { claimName: "data" } }],
});

const container = { name: "main", image: toolImage, imagePullPolicy: "Never" };

function pod(namespace: string, name: string, labels: object, spec: object): Manifest {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { ...meta(namespace, name), labels } as NonNullable<Manifest["metadata"]>,
    spec: { terminationGracePeriodSeconds: 0, automountServiceAccountToken: false, enableServiceLinks: false, ...spec },
  };
}

/**
 * Answers by the pod of one node, which serves already: each pod more behind it, and each that comes later, would have every node's
 * kube-proxy write its rules once more, 0.12 s of CPU each.
 */
function webService(namespace: string, node: string): Manifest {
  const spec = { selector: { app: "web", node }, ports: [{ port: 8080, targetPort: 8080 }] };
  return { apiVersion: "v1", kind: "Service", metadata: meta(namespace, "web"), spec };
}

function volumeClaim(namespace: string): Manifest {
  const spec = { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "10Mi" } } };
  return { apiVersion: "v1", kind: "PersistentVolumeClaim", metadata: meta(namespace, "data"), spec };
}

/** Waits until the writer has written, and removes it. */
async function writtenVolume(kube: Kube, namespace: string): Promise<PodState> {
  const found = (pods: readonly PodState[]) => pods.find(({ name }) => name === writerName);
  const unready = (pods: readonly PodState[]) => {
    const writer = found(pods);
    return writer?.ready === true ? undefined : `${writerName}: ${writer?.why ?? "not created"}`;
  };
  const pods = await kube.waitForPods(namespace, "the volume was not written", unready, { deadline: limit });
  const writer = found(pods);
  if (writer === undefined) throw new KpiError("claim", "the pod that wrote the volume is gone");
  const path = `/api/v1/namespaces/${namespace}/pods/${writerName}`;
  await until("the volume was not written", limit, async (signal) => {
    const { text } = await kube.request(`${path}/log`, { signal });
    if (text.trim() !== written) notYet(`${writerName} says ${JSON.stringify(text.slice(0, 200))}`);
  });
  await kube.request(path, { method: "DELETE" });
  await until("the pod that wrote the volume goes", limit, async (signal) => {
    const { status } = await kube.request(path, { signal });
    if (status !== 404) notYet(`the API answers ${status}`);
  });
  return writer;
}

/** Waits until there is a pod that serves on each of these nodes. */
async function servingPods(kube: Kube, namespace: string, nodes: readonly string[]): Promise<readonly PodState[]> {
  const missing = (pods: readonly PodState[]) => {
    const waiting = nodes.flatMap((node) => {
      const found = pods.find(({ name }) => name === webName(node));
      return found?.ready === true ? [] : [`pod on ${node}: ${found?.why ?? "not created"}`];
    });
    return waiting.length === 0 ? undefined : waiting.join("; ");
  };
  const pods = await kube.waitForPods(namespace, "a pod that serves on each node", missing, { deadline: limit });
  return pods.filter(({ labels }) => labels["app"] === "web");
}

async function seeService(kube: Kube, namespace: string, pods: readonly PodState[]): Promise<StartedPods> {
  const service = await getJson<{ spec: { clusterIP: string } }>(kube, `/api/v1/namespaces/${namespace}/services/web`);
  return {
    pods: pods.map(({ node, ip, container }) => ({ node, address: ip, container })),
    serviceAddress: service.spec.clusterIP,
    serviceName: `web.${namespace}.svc.cluster.local`,
  };
}

async function seeStorage(
  kube: Kube,
  namespace: string,
  { written, writer, reader }: Pick<StorageSeen, "written" | "writer" | "reader">,
): Promise<StorageSeen> {
  const base = `/api/v1/namespaces/${namespace}`;
  const [log, claim] = await Promise.all([
    kube.request(`${base}/pods/${reader.name}/log`),
    getJson<Claim>(kube, `${base}/persistentvolumeclaims/data`),
  ]);
  const volume = await getJson<Volume>(kube, `/api/v1/persistentvolumes/${claim.spec.volumeName}`);
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
