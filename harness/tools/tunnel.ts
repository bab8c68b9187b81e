import { connect, type Socket } from "node:net";
import { orAborted } from "../core/deadline.ts";
import { KpiError } from "../core/errors.ts";

/** A CONNECT proxy on loopback and what it wants to know. */
export interface Proxy {
  readonly host: string;
  readonly port: number;
  readonly user: string;
  /** Never on a command line, in an event or in a log. */
  readonly secret: string;
  /** Holds the secret, mode 0600. */
  readonly secretFile: string;
}

/** The proxy with its secret in the user info: for a kubeconfig's `proxy-url`, and secret itself. */
export function proxyUrl({ host, port, user, secret }: Proxy): string {
  return `http://${encodeURIComponent(user)}:${encodeURIComponent(secret)}@${host}:${port}`;
}

/** The value of the header by which a proxy knows its user. */
export function basicAuthorization(user: string, secret: string): string {
  return `Basic ${Buffer.from(`${user}:${secret}`).toString("base64")}`;
}

const longestAnswer = 8 * 1024;

/**
 * Opens a TCP connection to `host:port` through the proxy. Throws a `host` error when the proxy refuses us (a retry
 * would not help), and an ordinary Error when the far end does not answer (a guest that still boots).
 */
export async function connectThrough(proxy: Proxy, host: string, port: number, signal?: AbortSignal): Promise<Socket> {
  signal?.throwIfAborted();
  const socket = connect({ host: proxy.host, port: proxy.port, noDelay: true, allowHalfOpen: true });
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const ended = () => reject(new Error("the proxy closed the connection"));
  let seen = Buffer.alloc(0);
  // Read by hand, not by "data": the stream then starts to flow only when its user listens, and no byte is lost.
  const take = () => {
    for (let chunk: Buffer | null; (chunk = socket.read()) !== null;) {
      seen = Buffer.concat([seen, chunk]);
      const end = seen.indexOf("\r\n\r\n");
      if (end < 0 && seen.length > longestAnswer) return reject(new Error("the proxy speaks no HTTP"));
      if (end < 0) continue;
      socket.off("readable", take);
      const status = Number(/^HTTP\/1\.[01] (\d{3}) /.exec(seen.toString("latin1", 0, end))?.[1]);
      if (status !== 200) return reject(refused(proxy, host, port, status));
      const rest = seen.subarray(end + 4);
      if (rest.length > 0) socket.unshift(rest);
      return resolve(socket);
    }
  };
  socket.on("readable", take).once("error", reject).once("close", ended);
  const authorization = basicAuthorization(proxy.user, proxy.secret);
  socket.write(
    `CONNECT ${host}:${port} HTTP/1.1\r\nHost: ${host}:${port}\r\nProxy-Authorization: ${authorization}\r\n\r\n`,
  );
  try {
    return await (signal === undefined ? promise : orAborted(signal, promise));
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    socket.off("error", reject).off("close", ended).off("readable", take);
  }
}

function refused(proxy: Proxy, host: string, port: number, status: number): Error {
  if (status === 502) return new Error(`${host}:${port} does not answer`);
  const why: Record<number, string> = {
    403: `${host} is outside its network`,
    407: "user name or secret is not its own",
  };
  return new KpiError(
    "host",
    `the proxy at ${proxy.host}:${proxy.port} refuses: ${why[status] ?? `status ${status}`}`,
    {
      hint:
        status === 407
          ? `its secret is in ${proxy.secretFile}; the lab may have been made anew`
          : "look at the lab's network with: kpi plan",
    },
  );
}

/**
 * Joins this process's standard input and output to `host:port`, as ssh's ProxyCommand wants it. Resolves when the far end has ended and
 * all was written. Throws a `host` error when it is not reached.
 */
export async function pumpStdio(proxy: Proxy, host: string, port: number, signal?: AbortSignal): Promise<void> {
  const socket = await connectThrough(proxy, host, port, signal).catch((error: unknown) => {
    if (signal?.aborted === true || error instanceof KpiError || !(error instanceof Error)) throw error;
    throw new KpiError("host", error.message, { hint: "whether it runs, and since when: kpi status", cause: error });
  });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const flushed = () => process.stdout.write("", () => resolve());
  socket.once("error", reject).once("end", flushed).once("close", flushed);
  process.stdout.once("error", () => socket.destroy());
  process.stdin.pipe(socket);
  socket.pipe(process.stdout, { end: false });
  try {
    await (signal === undefined ? promise : orAborted(signal, promise));
  } finally {
    process.stdin.unpipe(socket).destroy();
    socket.destroy();
  }
}
