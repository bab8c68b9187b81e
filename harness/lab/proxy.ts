import { connect, createServer, type Server, type Socket } from "node:net";
import { judge, longestHead, type ProxyRules, refusal } from "./connect.ts";

/** A stranger who connects and says nothing is dropped after this many milliseconds. */
const headLimit = 10_000;

/** Joins a client, who waits for an answer to his request, to `host:port`; `rest` is what he has sent already. */
export type Dial = (client: Socket, host: string, port: number, rest: Buffer, log: (line: string) => void) => void;

/** The answer to a client who is joined. */
export const established = "HTTP/1.1 200 Connection established\r\n\r\n";

/** A CONNECT proxy. Dials from whatever network namespace the calling thread is in when a request comes, unless told another way. */
export function createProxy(rules: ProxyRules, log: (line: string) => void, join: Dial = dial): Server {
  return createServer({ allowHalfOpen: true, noDelay: true }, (client) => {
    client.on("error", () => client.destroy());
    const late = () => client.destroy();
    const limit = AbortSignal.timeout(headLimit);
    limit.addEventListener("abort", late, { once: true });
    readHead(client, (head, rest) => {
      limit.removeEventListener("abort", late);
      const verdict =
        head === undefined
          ? ({ kind: "refuse", status: 400, why: "the request is too long" } as const)
          : judge(head, rules);
      if (verdict.kind === "dial") return join(client, verdict.host, verdict.port, rest, log);
      log(`proxy: refused with ${verdict.status}`);
      client.end(refusal(verdict.status, verdict.why));
    });
  });
}

/** Collects bytes up to the empty line; the rest belongs to the tunnel. Gives up on a head that is too long. */
function readHead(client: Socket, done: (head: string | undefined, rest: Buffer) => void): void {
  let seen = Buffer.alloc(0);
  const take = (chunk: Buffer) => {
    seen = Buffer.concat([seen, chunk]);
    const end = seen.indexOf("\r\n\r\n");
    if (end < 0 && seen.length <= longestHead) return;
    client.off("data", take);
    client.pause();
    if (end < 0 || end > longestHead) done(undefined, Buffer.alloc(0));
    else done(seen.subarray(0, end).toString("latin1"), seen.subarray(end + 4));
  };
  client.on("data", take);
}

function dial(client: Socket, host: string, port: number, rest: Buffer, log: (line: string) => void): void {
  const guest = connect({ host, port, allowHalfOpen: true, noDelay: true });
  const abandoned = () => guest.destroy();
  // Bun says ECONNREFUSED for every failed connection, also where nobody has the address: so no reason is given.
  const unreachable = () => {
    log(`proxy: ${host}:${port} does not answer`);
    client.end(refusal(502, `${host}:${port} does not answer`));
  };
  client.once("close", abandoned);
  guest.once("error", unreachable);
  guest.once("connect", () => {
    client.off("close", abandoned);
    guest.off("error", unreachable).on("error", () => guest.destroy());
    client.write(established);
    if (rest.length > 0) guest.write(rest);
    join(client, guest);
    join(guest, client);
  });
}

/** Bytes flow on, an end is passed on as an end, and a broken connection breaks the other one. What was read is written first. */
function join(from: Socket, to: Socket): void {
  from.pipe(to);
  from.once("close", (broken: boolean) => (broken ? to.destroy() : to.end(() => to.destroy())));
}
