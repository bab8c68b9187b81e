import { afterAll, beforeAll, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer as createHttp, type IncomingMessage, type ServerResponse } from "node:http";
import { createServer as createHttps, type Server } from "node:https";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TLSSocket } from "node:tls";
import { milliseconds, seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { run } from "./exec.ts";
import { openKube } from "./kube.ts";
import type { ApiNode } from "./kube-state.ts";
import { parseKubeconfig, renderKubeconfig, rewriteKubeconfig } from "./kubeconfig.ts";

const dir = mkdtempSync(join(tmpdir(), "kpi-kube-test-"));
const pem = (name: string) => readFileSync(join(dir, name), "utf8");
const sockets = new Set<Socket>();
let server: Server;
let port = 0;

/** The cluster that the fake API shows; tests change it through `change`. */
let nodes: ApiNode[] = [];
let version = 1;
let broken = 0;
/** So many lists of nodes break off in the middle, so many are never answered. */
let [halved, mute] = [0, 0];
let requests: { method: string; url: string; type: string; body: string }[] = [];
const watchers = new Set<ServerResponse>();

const node = (name: string, ready: boolean, message = "container runtime is down"): ApiNode => ({
  metadata: { name, resourceVersion: String(version) },
  spec: { podCIDR: "10.42.0.0/24" },
  status: {
    conditions: [{ type: "Ready", status: ready ? "True" : "False", message }],
    addresses: [{ type: "InternalIP", address: "192.168.122.10" }],
    nodeInfo: { kubeletVersion: "v1.34.3+k3s1", machineID: "abc", bootID: "def" },
  },
});

function change(type: "ADDED" | "MODIFIED" | "DELETED", object: ApiNode): void {
  version += 1;
  nodes = [
    ...nodes.filter((each) => each.metadata.name !== object.metadata.name),
    ...(type === "DELETED" ? [] : [object]),
  ];
  // Cut in two, as a network does.
  const line = `${JSON.stringify({ type, object })}\n`;
  for (const watcher of watchers) {
    watcher.write(line.slice(0, 25));
    watcher.write(line.slice(25));
  }
}

function answer(request: IncomingMessage, response: ServerResponse): void {
  const url = new URL(request.url ?? "/", "https://x");
  const json = (status: number, body: unknown) => {
    response.writeHead(status, { "content-type": "application/json" });
    response.end(JSON.stringify(body));
  };
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const { method = "", headers } = request;
    requests.push({
      method,
      url: url.pathname + url.search,
      type: headers["content-type"] ?? "",
      body: Buffer.concat(chunks).toString(),
    });
    if (!(request.socket as TLSSocket).authorized) return json(401, { kind: "Status", message: "Unauthorized" });
    if (broken > 0) {
      broken -= 1;
      return json(503, { kind: "Status", message: "apiserver not ready" });
    }
    if (url.pathname === "/api/v1/nodes" && url.searchParams.has("watch")) {
      response.writeHead(200, { "content-type": "application/json" });
      response.write(`${JSON.stringify({ type: "BOOKMARK", object: { metadata: {} } })}\n`);
      watchers.add(response);
      response.on("close", () => watchers.delete(response));
      return;
    }
    if (url.pathname === "/api/v1/nodes" && mute > 0) return void (mute -= 1);
    if (url.pathname === "/api/v1/nodes" && halved > 0) {
      halved -= 1;
      response.writeHead(200, { "content-type": "application/json", "content-length": "1000" });
      response.write('{"metadata":{', () => request.socket.destroy());
      return;
    }
    if (url.pathname === "/api/v1/nodes")
      return json(200, { metadata: { resourceVersion: String(version) }, items: nodes });
    if (url.pathname === "/api/v1") {
      return json(200, {
        kind: "APIResourceList",
        groupVersion: "v1",
        resources: [{ name: "configmaps", kind: "ConfigMap", namespaced: true }],
      });
    }
    if (url.pathname.startsWith("/api/v1/namespaces/default/configmaps/")) {
      if (url.pathname.endsWith("/gone")) return json(404, { kind: "Status", message: "not found" });
      if (url.pathname.endsWith("/bad")) return json(422, { kind: "Status", message: "data: Invalid value" });
      return json(
        200,
        method === "DELETE" ? { kind: "Status", status: "Success" } : JSON.parse(Buffer.concat(chunks).toString()),
      );
    }
    json(403, { kind: "Status", message: "forbidden" });
  });
}

async function certificate(name: string, subject: string, ca?: string): Promise<void> {
  const sign =
    ca === undefined ? [] : ["-CA", `${ca}.crt`, "-CAkey", `${ca}.key`, "-addext", "subjectAltName=IP:127.0.0.1"];
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", `${name}.key`];
  await run("openssl", ["req", "-x509", ...key, "-out", `${name}.crt`, "-days", "2", "-subj", subject, ...sign], {
    cwd: dir,
  });
}

beforeAll(async () => {
  await Promise.all([certificate("ca", "/CN=kpi-ca"), certificate("other", "/CN=kpi-ca")]);
  await Promise.all([
    certificate("server", "/CN=api", "ca"),
    certificate("client", "/O=system:masters/CN=admin", "ca"),
  ]);
  const tls = { cert: pem("server.crt"), key: pem("server.key"), ca: pem("ca.crt") };
  server = createHttps({ ...tls, requestCert: true, rejectUnauthorized: false }, answer);
  server.on("connection", (socket: Socket) => sockets.add(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  port = (server.address() as { port: number }).port;
});
afterAll(() => {
  server.close();
  for (const socket of sockets) socket.destroy();
  rmSync(dir, { recursive: true });
});
beforeEach(() => {
  nodes = [node("k3s-cp-01", true)];
  requests = [];
  [broken, halved, mute] = [0, 0, 0];
});

const access = () => ({
  server: `https://127.0.0.1:${port}`,
  ca: pem("ca.crt"),
  cert: pem("client.crt"),
  key: pem("client.key"),
});
const kube = () => openKube({ kubeconfig: access() });
const failure = async (work: Promise<unknown>): Promise<KpiError> => {
  const error = await work.then(
    () => new Error("it did not fail"),
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(KpiError);
  return error as KpiError;
};

test("lists nodes with our certificate, answers 401 without", async () => {
  expect(await kube().nodes()).toMatchObject([
    {
      name: "k3s-cp-01",
      ready: true,
      why: "",
      internalIp: "192.168.122.10",
      kubeletVersion: "v1.34.3+k3s1",
      machineId: "abc",
      bootId: "def",
    },
  ]);
  expect((await kube().request("/metrics")).status).toBe(403);
  expect((await kube().anonymous().request("/api/v1/nodes")).status).toBe(401);
  expect((await failure(kube().anonymous().nodes())).got).toBe("Unauthorized");
});

test.each(["", "0"])(
  "another CA of the same name is refused before anything is asked (node is told %p)",
  async (told) => {
    process.env["NODE_TLS_REJECT_UNAUTHORIZED"] = told; // some set it to 0 for other work
    const kubeconfig = { ...access(), ca: pem("other.crt") };
    const asked = failure(openKube({ kubeconfig }).request("/api/v1/nodes"));
    const error = await asked.finally(() => delete process.env["NODE_TLS_REJECT_UNAUTHORIZED"]);
    expect(error.kind).toBe("host");
    expect(error.what).toContain("is not the one this cluster's CA vouches for");
    expect(requests).toEqual([]);
  },
);

test("goes through a CONNECT proxy with its secret, and says when that is refused", async () => {
  const secret = `Basic ${Buffer.from("kpi:hunter2").toString("base64")}`;
  let tunnels = 0;
  const proxy = createHttp().on("connect", (request: IncomingMessage, socket: Socket) => {
    if (request.headers["proxy-authorization"] !== secret) {
      return socket.end("HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n");
    }
    tunnels += 1;
    const [host, to] = (request.url ?? "").split(":");
    const upstream = connect(Number(to), host, () => {
      socket.write("HTTP/1.1 200 OK\r\n\r\n");
      upstream.pipe(socket).pipe(upstream);
    });
    upstream.on("error", () => socket.destroy());
    socket.on("error", () => upstream.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const at = `127.0.0.1:${(proxy.address() as { port: number }).port}`;
  const through = (user: string) => openKube({ kubeconfig: access(), proxy: { url: `http://${user}@${at}` } });
  expect(await through("kpi:hunter2").nodes()).toHaveLength(1);
  expect(tunnels).toBe(1);
  const error = await failure(through("kpi:wrong").nodes());
  expect(error.what).toBe(`the proxy at ${at} refused its user name or password`);
  proxy.close();
});

test("an API that is down says so at once", async () => {
  const error = await failure(openKube({ kubeconfig: access(), server: "https://127.0.0.1:1" }).nodes());
  expect(error.what).toBe("the API at https://127.0.0.1:1 does not answer");
});

test("waits for nodes by watching: joins late, becomes ready later", async () => {
  const seen: string[] = [];
  const stop = new AbortController();
  const watching = kube()
    .watchNodes((list) => seen.push(list.map(({ name, ready }) => `${name}=${ready}`).join()), { signal: stop.signal })
    .catch((error: unknown) => error);
  const waiting = kube().waitForNodes(["k3s-cp-01", "k3s-worker-01"], { deadline: seconds(5) });
  while (watchers.size < 2) await new Promise((resolve) => setImmediate(resolve));
  change("ADDED", node("k3s-worker-01", false));
  change("MODIFIED", node("k3s-worker-01", true));
  expect((await waiting).map(({ name }) => name)).toEqual(["k3s-cp-01", "k3s-worker-01"]);
  while (seen.length < 3) await new Promise((resolve) => setImmediate(resolve));
  expect(seen).toEqual(["k3s-cp-01=true", "k3s-cp-01=true,k3s-worker-01=false", "k3s-cp-01=true,k3s-worker-01=true"]);
  stop.abort(new KpiError("interrupted", "enough"));
  expect(await watching).toMatchObject({ kind: "interrupted" });
  expect(requests.filter(({ url }) => !url.includes("watch"))).toHaveLength(2);
});

test("a watch survives an API that breaks off and is not ready at first", async () => {
  const away: string[] = [];
  broken = 1;
  const options = { deadline: seconds(5), onAway: (why: string) => void away.push(why) };
  const waiting = kube().waitForNodes(["k3s-cp-01", "k3s-worker-02"], options);
  while (watchers.size < 1) await new Promise((resolve) => setImmediate(resolve));
  broken = 1;
  for (const watcher of watchers) watcher.socket?.destroy();
  while (watchers.size < 1) await new Promise((resolve) => setImmediate(resolve));
  change("ADDED", node("k3s-worker-02", true));
  expect(await waiting).toHaveLength(2);
  expect(away.join("\n")).toContain("the API answers 503: apiserver not ready");
});

test("an answer that breaks off is an API that is away: asked again by a watch, an error in words otherwise", async () => {
  halved = 1;
  expect((await failure(kube().nodes())).what).toBe(`the API at https://127.0.0.1:${port} does not answer`);
  halved = 1;
  expect((await failure(kube().request("/api/v1/nodes"))).what).toContain("does not answer");
  const away: string[] = [];
  halved = 1;
  const options = { deadline: seconds(5), onAway: (why: string) => void away.push(why) };
  expect(await kube().waitForNodes(["k3s-cp-01"], options)).toHaveLength(1);
  expect(away).toHaveLength(1);
});

test("a list that does not come is asked for again", async () => {
  const away: string[] = [];
  mute = 1;
  const onAway = (why: string) => void away.push(why);
  const options = { deadline: seconds(5), listLimit: milliseconds(100), onAway };
  expect(await kube().waitForNodes(["k3s-cp-01"], options)).toHaveLength(1);
  expect(away).toEqual(["no list within 100ms"]);
});

test("a wait that ends says which node was missing and why", async () => {
  nodes.push(node("k3s-worker-01", false));
  const wanted = ["k3s-cp-01", "k3s-worker-01", "k3s-worker-02"];
  const error = await failure(kube().waitForNodes(wanted, { deadline: milliseconds(100) }));
  expect(error.kind).toBe("deadline");
  expect(error.details[0]).toBe(
    "last saw: k3s-worker-01 is not ready: container runtime is down; k3s-worker-02 has not joined",
  );
});

test("applies by server-side apply and deletes what is there", async () => {
  const configMap = (name: string) => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name, namespace: "default" },
    data: { a: "b" },
  });
  await kube().apply([configMap("a")]);
  const patch = requests.find(({ method }) => method === "PATCH");
  expect(patch).toMatchObject({ type: "application/apply-patch+yaml" });
  expect(patch?.url).toContain("/configmaps/a?fieldManager=kpi&force=true");
  expect(JSON.parse(patch?.body ?? "")).toEqual(configMap("a"));
  await kube().delete([configMap("a"), configMap("gone")]);
  const error = await failure(kube().apply([configMap("bad")]));
  expect([error.what, error.got]).toEqual(["could not apply ConfigMap default/bad", "422: data: Invalid value"]);
});

test("a kubeconfig keeps its certificates and changes its address", () => {
  const text = renderKubeconfig(access(), "default");
  const proxyUrl = "http://kpi:s3cret@127.0.0.1:9999";
  const changed = rewriteKubeconfig(text, { server: "https://192.168.122.10:6443", proxyUrl, clusterName: "kpi" });
  expect(parseKubeconfig(changed)).toEqual({ ...access(), server: "https://192.168.122.10:6443", proxyUrl });
  expect(changed).toContain('current-context: "kpi"');
});

test("a kubeconfig that is none is named as such", () => {
  const text = renderKubeconfig(access(), "default");
  expect(() => parseKubeconfig("")).toThrow("the kubeconfig has no current-context");
  expect(() => parseKubeconfig(text.replace('name: "default"', 'name: "x"'))).toThrow("not among its clusters");
  expect(() => parseKubeconfig(text.replace("client-key-data", "client-key"))).toThrow("has no client-key-data");
  expect(() => parseKubeconfig(text.replace(/(client-key-data:).*/, "$1 Zm9v"))).toThrow("no PEM");
});
