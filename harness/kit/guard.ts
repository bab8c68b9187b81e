import { faultsInForce } from "../run/fault.ts";
import type { Kube } from "../tools/kube.ts";
import { shellQuote } from "../tools/exec.ts";
import { getJson } from "./get-json.ts";
import type { NodeLooks } from "./node-looks.ts";
import type { Session } from "./session.ts";

/** What a spec that only looks must leave as it was; cheap to take. Lines by what they are about. */
export type Fingerprint = Readonly<Record<string, string>>;

/** The lines of fingerprint.sh. */
const aspects = ["boot", "units", "accounts and configuration", "network", "overlay"];

/** Objects of the API that specs make, change and forget, by what they are called here; nothing of it changes by itself. */
const objects = {
  namespaces: "/api/v1/namespaces",
  pods: "/api/v1/pods",
  services: "/api/v1/services",
  "volume claims": "/api/v1/persistentvolumeclaims",
  "storage classes": "/apis/storage.k8s.io/v1/storageclasses",
  "cluster roles": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
  "cluster role bindings": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
} as const;
/** Of the objects only who they are: of a role its rules would be most of the answer. */
const metadataOnly = { accept: "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json" };
const isDefault = "storageclass.kubernetes.io/is-default-class";

/** The names of what looks make for themselves, which is removed in the background. */
export const ownNamespace = /^kpi-spec-/;
/** The pods by which local-path makes and removes a volume's directory, where it does not run inside k3s as k3s-lab has it. */
const helperPod = /^helper-pod-(?:create|delete)-pvc-/;

/**
 * Takes it: a command a node over the open connections, unless somebody looks at the nodes anyway, and a request for each kind of object.
 * Nobody waits for a lab that has ended.
 */
export const takeFingerprint = (session: Session, looks: Asked = session): Promise<Fingerprint> =>
  session.whileItRuns(() => ask(session, looks));

type Asked = Pick<NodeLooks, "fingerprint">;

async function ask(session: Session, looks: Asked): Promise<Fingerprint> {
  const { access, plan } = session;
  const [api, lines] = await Promise.all([
    askApi(access.kube()),
    Promise.all(plan.nodes.map((node) => looks.fingerprint(node))),
  ]);
  const onNodes = plan.nodes.flatMap(({ name }, index) =>
    aspects.map(
      (aspect, line) => [`${name}: ${aspect}`, (lines[index] ?? "").split("\n")[line]?.trim() ?? ""] as const,
    ),
  );
  const faults = faultsInForce(access.cluster.name).join(", ");
  return { ...api, "faults in force": faults, ...Object.fromEntries(onNodes) };
}

/** What there is in the cluster by the API's word, and of nodes how they are marked. */
export async function askApi(kube: Pick<Kube, "request">): Promise<Fingerprint> {
  const list = async (path: string, headers: Readonly<Record<string, string>> = {}) =>
    (await getJson<{ items: Named[] | null }>(kube, path, { headers })).items ?? []; // null where there are none, and only their metadata was asked for
  const kinds = Object.entries(objects).map(async ([kind, path]) => {
    const found = (await list(path, metadataOnly)).filter(
      ({ metadata: { namespace, name } }) =>
        !ownNamespace.test(namespace ?? (kind === "namespaces" ? name : "")) &&
        !(namespace === "kube-system" && helperPod.test(name)),
    );
    return [kind, words(found.map(nameOf))] as const;
  });
  const [nodes, ...others] = await Promise.all([list("/api/v1/nodes"), ...kinds]);
  return {
    nodes: words(
      nodes.map(({ metadata, spec }) => `${metadata.name}${spec?.unschedulable === true ? " (cordoned)" : ""}`),
    ),
    labels: words(
      nodes.flatMap(({ metadata: { name, labels = {} } }) =>
        Object.entries(labels).map(([key, value]) => `${name}:${key}=${value}`),
      ),
    ),
    ...Object.fromEntries(others),
  };
}

interface Named {
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly spec?: { readonly unschedulable?: boolean };
}

const words = (found: readonly string[]) => [...found].sort().join(" ");

const nameOf = ({ metadata: { name, namespace, annotations } }: Named) =>
  `${namespace === undefined ? "" : `${namespace}/`}${name}${annotations?.[isDefault] === "true" ? " (default)" : ""}`;

/** What differs, a line each. Pure. */
export function changes(before: Fingerprint, after: Fingerprint): string[] {
  return Object.keys({ ...before, ...after }).flatMap((about) => {
    const [was, is] = [before[about] ?? "nothing", after[about] ?? "nothing"];
    if (was === is) return [];
    const [gone, come] = [without(was, is), without(is, was)];
    return [`${about}: ${shellQuote([gone])} became ${shellQuote([come])}`];
  });
}

/**
 * Without what a machine that was started again, or a unit that was, has another of: whoever goes on with a cluster that was broken and
 * healed finds the same units running, the same accounts, configuration, network, and the same objects in the API. Pure.
 */
export function lasting(fingerprint: Fingerprint): Fingerprint {
  return Object.fromEntries(
    Object.entries(fingerprint)
      .filter(([about]) => !/: (boot|overlay)$/.test(about))
      .map(([about, text]) => [about, about.endsWith(": units") ? text.replaceAll(/:\d+/g, "") : text]),
  );
}

/** The words of one text that the other lacks: of a long line only what differs is shown. */
function without(text: string, other: string): string {
  const known = new Set(other.split(/\s+/));
  return (
    text
      .split(/\s+/)
      .filter((word) => !known.has(word))
      .join(" ") || "nothing"
  );
}
