import { KpiError } from "../core/errors.ts";
import { parseYaml, plain } from "../core/yaml.ts";

/** What is needed to talk to one cluster. Certificates and key are PEM; the key is secret. */
export interface KubeAccess {
  /** `https://ADDRESS:PORT` */
  readonly server: string;
  readonly ca: string;
  /** Absent for an anonymous client. */
  readonly cert?: string;
  readonly key?: string;
  /** Of a CONNECT proxy, user info included and therefore secret. */
  readonly proxyUrl?: string;
}

/** What changes when a kubeconfig leaves its node. */
export interface KubeconfigChange {
  readonly server: string;
  readonly proxyUrl?: string;
  /** Name of cluster, user and context in the result. */
  readonly clusterName: string;
}

/** Reads the current context of a kubeconfig whose certificates are inline, as k3s writes it. Throws a `contract` error otherwise. */
export function parseKubeconfig(text: string): KubeAccess {
  const { root } = parseYaml(text, "kubeconfig");
  const config = root === undefined ? undefined : plain(root);
  const wanted = texts(named(config, "contexts", textAt(config, "current-context")), "context");
  const cluster = texts(named(config, "clusters", wanted("cluster")), "cluster");
  const user = texts(named(config, "users", wanted("user")), "user");
  const proxyUrl = cluster("proxy-url", false);
  return {
    server: cluster("server"),
    ca: decode(cluster("certificate-authority-data")),
    cert: decode(user("client-certificate-data")),
    key: decode(user("client-key-data")),
    ...(proxyUrl === "" ? {} : { proxyUrl }),
  };
}

/** The same access under another address and name; certificates and key stay as they are. The result is secret: mode 0600. */
export function rewriteKubeconfig(text: string, change: KubeconfigChange): string {
  const { ca, cert, key } = parseKubeconfig(text);
  const { server, proxyUrl, clusterName } = change;
  return renderKubeconfig(
    { server, ca, ...(cert && key ? { cert, key } : {}), ...(proxyUrl === undefined ? {} : { proxyUrl }) },
    clusterName,
  );
}

/** Text of a kubeconfig for kubectl. JSON strings are YAML, so nothing in a value can change the structure. */
export function renderKubeconfig(access: KubeAccess, clusterName: string): string {
  const name = JSON.stringify(clusterName);
  const data = (pem: string) => Buffer.from(pem).toString("base64");
  return [
    "apiVersion: v1",
    "kind: Config",
    `current-context: ${name}`,
    "clusters:",
    `- name: ${name}`,
    "  cluster:",
    `    server: ${JSON.stringify(access.server)}`,
    ...(access.proxyUrl === undefined ? [] : [`    proxy-url: ${JSON.stringify(access.proxyUrl)}`]),
    `    certificate-authority-data: ${data(access.ca)}`,
    "users:",
    `- name: ${name}`,
    ...(access.cert === undefined || access.key === undefined
      ? ["  user: {}"]
      : ["  user:", `    client-certificate-data: ${data(access.cert)}`, `    client-key-data: ${data(access.key)}`]),
    "contexts:",
    `- name: ${name}`,
    `  context: {cluster: ${name}, user: ${name}}`,
    "",
  ].join("\n");
}

type Json = Readonly<Record<string, unknown>>;
const isJson = (value: unknown): value is Json => typeof value === "object" && value !== null && !Array.isArray(value);
const broken = (what: string) =>
  new KpiError("contract", `the kubeconfig ${what}`, {
    hint: "k3s writes it to /etc/rancher/k3s/k3s.yaml when its API is up",
  });

function textAt(value: unknown, key: string, needed = true): string {
  const found = isJson(value) ? value[key] : undefined;
  if (typeof found === "string" && found !== "") return found;
  if (needed) throw broken(`has no ${key}`);
  return "";
}

/** The entry of that name in one of the file's three lists. */
function named(config: unknown, list: string, name: string): Json {
  const entries = isJson(config) ? config[list] : undefined;
  const found = Array.isArray(entries) ? entries.find((entry) => isJson(entry) && entry["name"] === name) : undefined;
  if (!isJson(found)) throw broken(`names "${name}", which is not among its ${list}`);
  return found;
}

/** Reader of the texts below `key` of an entry. */
function texts(entry: Json, key: string): (name: string, needed?: boolean) => string {
  return (name, needed = true) => textAt(entry[key], name, needed);
}

function decode(base64: string): string {
  const pem = Buffer.from(base64, "base64").toString("utf8");
  if (!pem.includes("-----BEGIN ")) throw broken("holds a certificate that is no PEM");
  return pem;
}
