import type { KubernetesObject, KubernetesObjectApi } from "@kubernetes/client-node";
import type { Duration } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { ApiAway, type ApiRequest, ApiTransport } from "./kube-http.ts";
import {
  type ApiEvent,
  type ApiLease,
  type ApiNode,
  type ApiPod,
  type EventState,
  eventState,
  type LeaseState,
  leaseState,
  type NodeState,
  nodeState,
  nodesMissing,
  type PodState,
  podState,
} from "./kube-state.ts";
import { waitForList, type WatchOptions, watchList } from "./kube-watch.ts";
import { type KubeAccess, parseKubeconfig } from "./kubeconfig.ts";

/** Any object with apiVersion, kind and metadata.name; the rest is as in a manifest. */
export type Manifest = KubernetesObject & Readonly<Record<string, unknown>>;

export interface OpenKubeOptions {
  /** Text of a kubeconfig with inline certificates, or its parts. */
  readonly kubeconfig: string | KubeAccess;
  /** In place of the kubeconfig's own, which on a node says 127.0.0.1. */
  readonly server?: string;
  /** CONNECT proxy, user info included; secret. */
  readonly proxy?: { readonly url: string };
}

export interface WaitOptions extends WatchOptions {
  readonly deadline: Duration;
}

/** What came back, whatever the status. */
export interface KubeResponse {
  readonly status: number;
  readonly text: string;
}

/** One cluster's API. Nothing is connected before the first call; a call that cannot be answered says why. */
export interface Kube {
  readonly server: string;
  nodes(signal?: AbortSignal): Promise<NodeState[]>;
  /** Of one namespace, or of all. */
  pods(namespace?: string, signal?: AbortSignal): Promise<PodState[]>;
  /** Oldest first. */
  events(namespace?: string, signal?: AbortSignal): Promise<EventState[]>;
  /** Tells all nodes at once and again after each change, across an API that goes away and comes back. Ends by the signal only. */
  watchNodes(onChange: (nodes: readonly NodeState[]) => void, options?: WatchOptions): Promise<never>;
  watchPods(namespace: string, onChange: (pods: readonly PodState[]) => void, options?: WatchOptions): Promise<never>;
  /** The nodes' signs of life, all of them at once and again after each renewal. */
  watchLeases(onChange: (leases: readonly LeaseState[]) => void, options?: WatchOptions): Promise<never>;
  /** Resolves when all of them are Ready, told by a watch; the API may be absent at first. */
  waitForNodes(names: readonly string[], options: WaitOptions): Promise<NodeState[]>;
  /** Resolves with a node when `missing` has nothing more to say about it; it says what is still wanted. The API may be away meanwhile. */
  waitForNode(name: string, missing: (node: NodeState) => string | undefined, options: WaitOptions): Promise<NodeState>;
  /** Resolves when `missing` has nothing more to say about the namespace's pods; it says what is still wanted. */
  waitForPods(
    namespace: string,
    what: string,
    missing: (pods: readonly PodState[]) => string | undefined,
    options: WaitOptions,
  ): Promise<PodState[]>;
  /** Any path, any status: 401 and 403 are answers here. A server that is away is a `host` error. */
  request(path: string, request?: ApiRequest): Promise<KubeResponse>;
  /** Creates or changes the objects, in order, by server-side apply. */
  apply(objects: readonly Manifest[], signal?: AbortSignal): Promise<void>;
  /** Deletes the objects, last first, with what depends on them; one that is gone already is fine. */
  delete(objects: readonly Manifest[], signal?: AbortSignal): Promise<void>;
  /** The same server and CA without our certificate. */
  anonymous(): Kube;
}

/** Opens a client for one cluster. */
export function openKube(options: OpenKubeOptions): Kube {
  const { kubeconfig, server, proxy } = options;
  const given = typeof kubeconfig === "string" ? parseKubeconfig(kubeconfig) : kubeconfig;
  return new Client({
    ...given,
    ...(server === undefined ? {} : { server }),
    ...(proxy === undefined ? {} : { proxyUrl: proxy.url }),
  });
}

class Client implements Kube {
  readonly server: string;
  private readonly api: ApiTransport;

  constructor(private readonly access: KubeAccess) {
    this.server = access.server;
    this.api = new ApiTransport(access);
  }

  async nodes(signal?: AbortSignal): Promise<NodeState[]> {
    return (await this.list<ApiNode>("/api/v1/nodes", signal)).map(nodeState);
  }

  async pods(namespace?: string, signal?: AbortSignal): Promise<PodState[]> {
    return (await this.list<ApiPod>(inNamespace(namespace, "pods"), signal)).map(podState);
  }

  async events(namespace?: string, signal?: AbortSignal): Promise<EventState[]> {
    const events = await this.list<ApiEvent>(inNamespace(namespace, "events"), signal);
    return events.map(eventState).sort((a, b) => a.at.localeCompare(b.at));
  }

  watchNodes(onChange: (nodes: readonly NodeState[]) => void, options: WatchOptions = {}): Promise<never> {
    return watchList<ApiNode>(this.api, "/api/v1/nodes", (nodes) => onChange(nodes.map(nodeState)), options);
  }

  watchPods(namespace: string, onChange: (pods: readonly PodState[]) => void, options: WatchOptions = {}) {
    return watchList<ApiPod>(this.api, inNamespace(namespace, "pods"), (pods) => onChange(pods.map(podState)), options);
  }

  watchLeases(onChange: (leases: readonly LeaseState[]) => void, options: WatchOptions = {}): Promise<never> {
    const path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    return watchList<ApiLease>(this.api, path, (leases) => onChange(leases.map(leaseState)), options);
  }

  async waitForNodes(names: readonly string[], options: WaitOptions): Promise<NodeState[]> {
    const missing = (nodes: readonly ApiNode[]) => nodesMissing(names, nodes.map(nodeState));
    const nodes = await waitForList(this.api, "/api/v1/nodes", "not all nodes became ready", missing, options);
    return nodes.map(nodeState);
  }

  async waitForNode(
    name: string,
    missing: (node: NodeState) => string | undefined,
    options: WaitOptions,
  ): Promise<NodeState> {
    const find = (nodes: readonly ApiNode[]) => nodes.map(nodeState).find((node) => node.name === name);
    const look = (nodes: readonly ApiNode[]) => {
      const node = find(nodes);
      return node === undefined ? "it is not there" : missing(node);
    };
    const nodes = await waitForList(this.api, "/api/v1/nodes", `node ${name} is not as wanted`, look, options);
    return find(nodes) as NodeState;
  }

  async waitForPods(
    namespace: string,
    what: string,
    missing: (pods: readonly PodState[]) => string | undefined,
    options: WaitOptions,
  ): Promise<PodState[]> {
    const look = (pods: readonly ApiPod[]) => missing(pods.map(podState));
    return (await waitForList(this.api, inNamespace(namespace, "pods"), what, look, options)).map(podState);
  }

  async request(path: string, request: ApiRequest = {}): Promise<KubeResponse> {
    const { status, text } = await this.api.ask(path, request).catch(unreachable(this.server));
    return { status, text };
  }

  async apply(objects: readonly Manifest[], signal?: AbortSignal): Promise<void> {
    const { client, PatchStrategy } = await this.objects(signal);
    for (const object of objects) {
      signal?.throwIfAborted();
      await client
        .patch(object, undefined, undefined, "kpi", true, PatchStrategy.ServerSideApply)
        .catch(this.explain(`could not apply ${naming(object)}`));
    }
  }

  async delete(objects: readonly Manifest[], signal?: AbortSignal): Promise<void> {
    const { client } = await this.objects(signal);
    for (const object of objects.toReversed()) {
      signal?.throwIfAborted();
      await client
        .delete(object, undefined, undefined, undefined, undefined, "Background")
        .catch((error: unknown) =>
          statusOf(error) === 404 ? undefined : this.explain(`could not delete ${naming(object)}`)(error),
        );
    }
  }

  anonymous(): Kube {
    const { cert: _cert, key: _key, ...rest } = this.access;
    return new Client(rest);
  }

  private async list<T>(path: string, signal?: AbortSignal): Promise<readonly T[]> {
    const request = signal === undefined ? {} : { signal };
    return (await this.api.json<{ items: readonly T[] }>(path, request).catch(unreachable(this.server))).items;
  }

  /** client-node over our transport. Imported late: its 880 modules cost a second, and most commands apply nothing. */
  private async objects(signal?: AbortSignal) {
    const library = await import("@kubernetes/client-node");
    const send: Parameters<typeof library.wrapHttpLibrary>[0]["send"] = async (request) => {
      const body = request.getBody();
      const { status, headers, text } = await this.api.ask(request.getUrl(), {
        method: request.getHttpMethod(),
        headers: request.getHeaders(),
        ...(body === undefined ? {} : { body: String(body) }),
        ...(signal === undefined ? {} : { signal }),
      });
      const answered = new library.SelfDecodingBody(Promise.resolve(Buffer.from(text)));
      return new library.ResponseContext(status, Object.fromEntries(headers.entries()), answered);
    };
    const configuration = library.createConfiguration({
      baseServer: new library.ServerConfiguration(this.server, {}),
      httpApi: library.wrapHttpLibrary({ send }),
    });
    const client: KubernetesObjectApi = new library.KubernetesObjectApi(configuration);
    return { client, PatchStrategy: library.PatchStrategy };
  }

  /** client-node throws its own error with the Status object as text in `body`. */
  private explain(what: string): (error: unknown) => never {
    return (error) => {
      if (error instanceof KpiError) throw error;
      if (error instanceof ApiAway) return unreachable(this.server)(error);
      const status = statusOf(error);
      if (status === undefined) throw error;
      const refused = this.api.refused(status, what, String((error as { body?: unknown }).body));
      throw new KpiError("contract", what, {
        got: `${status}: ${refused instanceof KpiError ? refused.got : refused.message}`,
      });
    };
  }
}

const inNamespace = (namespace: string | undefined, kind: string): string =>
  namespace === undefined ? `/api/v1/${kind}` : `/api/v1/namespaces/${encodeURIComponent(namespace)}/${kind}`;

const naming = ({ kind, metadata }: Manifest): string =>
  `${kind} ${metadata?.namespace ? `${metadata.namespace}/` : ""}${metadata?.name}`;

const statusOf = (error: unknown): number | undefined => {
  const { code } = error as { code?: unknown };
  return typeof code === "number" ? code : undefined;
};

/** Turns "away" into an error for calls that do not wait. */
function unreachable(server: string): (error: unknown) => never {
  return (error) => {
    if (!(error instanceof ApiAway)) throw error;
    throw new KpiError("host", `the API at ${server} does not answer`, {
      got: error.message,
      hint: "kpi status shows what its node is doing",
      cause: error,
    });
  };
}
