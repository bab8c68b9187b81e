import { afterAll, describe, expect, test } from "bun:test";
import { connect, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { parseNetwork } from "../core/address.ts";
import { seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { run } from "../tools/exec.ts";
import { connectThrough, pumpStdio, type Proxy, proxyUrl } from "../tools/tunnel.ts";
import { createProxy } from "./proxy.ts";

const network = parseNetwork("127.0.0.0/8");
if (network === undefined) throw new Error("unreachable");
const lines: string[] = [];
const servers: Server[] = [];
afterAll(() => servers.forEach((server) => server.close()));

async function listen(server: Server): Promise<number> {
  servers.push(server);
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", resolve);
  await promise;
  const address = server.address();
  return typeof address === "object" ? (address?.port ?? 0) : 0;
}

const port = await listen(createProxy({ user: "kpi", secret: "s3cret", network }, (line) => lines.push(line)));
const proxy: Proxy = { host: "127.0.0.1", port, user: "kpi", secret: "s3cret", secretFile: "/nowhere/secret" };
/** Answers an end of input with what it got, many times over, then ends. */
const echoTimes = 200_000;
const echo = await listen(
  createServer({ allowHalfOpen: true }, (socket) => {
    let seen = "";
    socket.on("data", (chunk) => (seen += chunk)).on("end", () => socket.end(seen.repeat(echoTimes)));
  }),
);

function everything(socket: Socket): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk)).on("error", reject);
  socket.on("end", () => resolve(Buffer.concat(chunks).toString()));
  return promise;
}

const failure = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error as Error,
  );

describe("a tunnel through the proxy", () => {
  test("carries bytes both ways, and an end of input is no end of output", async () => {
    const socket = await connectThrough(proxy, "127.0.0.1", echo);
    const answer = everything(socket);
    socket.end("hello");
    expect((await answer).length).toBe(5 * echoTimes);
  });

  test("takes what was sent together with the request", async () => {
    const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    const authorization = Buffer.from("kpi:s3cret").toString("base64");
    const answer = everything(socket);
    socket.end(`CONNECT 127.0.0.1:${echo} HTTP/1.1\r\nProxy-Authorization: Basic ${authorization}\r\n\r\nx`);
    expect(await answer).toBe(`HTTP/1.1 200 Connection established\r\n\r\n${"x".repeat(echoTimes)}`);
  });

  test("a wrong secret and a foreign address are hopeless, and say so without the secret", async () => {
    const stranger = await failure(connectThrough({ ...proxy, secret: "wr0ng" }, "127.0.0.1", echo));
    expect(stranger).toBeInstanceOf(KpiError);
    expect(stranger?.message).toContain("not its own");
    expect(JSON.stringify(stranger)).not.toContain("wr0ng");
    expect(await failure(connectThrough(proxy, "10.0.0.1", 22))).toBeInstanceOf(KpiError);
    expect(lines.join()).not.toContain("s3cret");
  });

  test("a far end that does not answer may be tried again", async () => {
    const error = await failure(connectThrough(proxy, "127.0.0.1", 1));
    expect(error?.message).toBe("127.0.0.1:1 does not answer");
    expect(error).not.toBeInstanceOf(KpiError);
  });

  test("an abort ends the attempt with its reason", async () => {
    const silent = await listen(createServer(() => {}));
    const stop = new AbortController();
    const work = failure(connectThrough({ ...proxy, port: silent }, "127.0.0.1", 1, stop.signal));
    stop.abort(new Error("stopped"));
    expect((await work)?.message).toBe("stopped");
  });

  test("joins standard input and output, as ssh wants it", async () => {
    const code = `import { pumpStdio } from ${JSON.stringify(join(import.meta.dir, "../tools/tunnel.ts"))};
      await pumpStdio(${JSON.stringify(proxy)}, "127.0.0.1", ${echo});`;
    const { stdout } = await run(process.execPath, ["-e", code], { input: "hi", timeout: seconds(5) });
    expect(stdout.length).toBe(2 * echoTimes);
  });

  test("says to ssh that nobody answers, which is no fault of its own", async () => {
    const error = await failure(pumpStdio(proxy, "127.0.0.1", 1));
    expect(error).toBeInstanceOf(KpiError);
    expect(error?.message).toBe("127.0.0.1:1 does not answer");
  });

  test("a request without end is refused", async () => {
    const socket = connect({ host: "127.0.0.1", port, allowHalfOpen: true });
    const answer = everything(socket);
    socket.write("A".repeat(9_000));
    expect(await answer).toStartWith("HTTP/1.1 400 ");
    socket.destroy();
  });

  test("its URL carries user and secret", () => {
    expect(proxyUrl({ ...proxy, port: 1 })).toBe("http://kpi:s3cret@127.0.0.1:1");
  });
});
