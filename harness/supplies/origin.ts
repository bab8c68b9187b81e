import { createServer, type Server, type Socket } from "node:net";
import { milliseconds, seconds } from "../core/duration.ts";
import { notYet, until } from "../core/deadline.ts";

/** How a path of the test server behaves; by default it serves its body, and ranges of it. */
export interface Behaviour {
  readonly body?: Uint8Array;
  /** Default: one that follows from the body's length. */
  readonly etag?: string;
  /** Answer with this status and no body; the first `times` requests only, if given. */
  readonly status?: number;
  readonly location?: string;
  readonly times?: number;
  /** Hang up after so many bytes of an answer's body; the first `times` requests only, if given. */
  readonly cutAfter?: number;
  /** Send so many bytes of the body, then nothing more, without hanging up. */
  readonly stallAfter?: number;
  /** Send the body in so many pieces with pauses. */
  readonly pieces?: number;
  /** Accept the request and never answer. */
  readonly mute?: boolean;
  readonly noRanges?: boolean;
}

/** One request as the server saw it. */
export interface Seen {
  readonly path: string;
  readonly range: string | undefined;
}

/** For tests: a release server on loopback that can misbehave in every way that a network knows. */
export class Origin implements AsyncDisposable {
  readonly requests: Seen[] = [];
  /** Bytes of bodies that were sent. */
  sent = 0;
  private readonly sockets = new Set<Socket>();

  private port = 0;

  private constructor(
    private readonly server: Server,
    private readonly paths: Record<string, Behaviour>,
  ) {}

  static async start(paths: Record<string, Behaviour>): Promise<Origin> {
    const server = createServer();
    const origin = new Origin(server, paths);
    server.on("connection", (socket) => origin.serve(socket));
    const { promise, resolve } = Promise.withResolvers<void>();
    server.listen(0, "127.0.0.1", resolve);
    await promise;
    const address = server.address();
    origin.port = typeof address === "object" ? (address?.port ?? 0) : 0;
    return origin;
  }

  /** The address of a path. */
  url(path: string): string {
    return `http://127.0.0.1:${this.port}${path}`;
  }

  /** Changes a path's behaviour from now on. */
  set(path: string, behaviour: Behaviour): void {
    this.paths[path] = behaviour;
  }

  count(path: string): number {
    return this.requests.filter((request) => request.path === path).length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.server.close(() => resolve());
    await promise;
  }

  private serve(socket: Socket): void {
    this.sockets.add(socket);
    socket.on("close", () => this.sockets.delete(socket));
    socket.on("error", () => {});
    let text = "";
    socket.on("data", (data) => {
      text += data.toString("latin1");
      if (!text.includes("\r\n\r\n")) return;
      const request = text;
      text = "";
      void this.answer(socket, request);
    });
  }

  private async answer(socket: Socket, request: string): Promise<void> {
    const path = /^GET (\S+)/.exec(request)?.[1] ?? "";
    const header = (name: string) => new RegExp(`^${name}: (.*)\r$`, "im").exec(request)?.[1];
    this.requests.push({ path, range: header("range") });
    const behaviour = this.paths[path] ?? { status: 404 };
    const misbehaves = behaviour.times === undefined || this.count(path) <= behaviour.times;
    if (behaviour.mute === true) return;
    if (behaviour.status !== undefined && misbehaves) {
      const location = behaviour.location === undefined ? "" : `Location: ${behaviour.location}\r\n`;
      socket.end(`HTTP/1.1 ${behaviour.status} Told So\r\n${location}Content-Length: 0\r\nConnection: close\r\n\r\n`);
      return;
    }
    const { body = new Uint8Array() } = behaviour;
    const etag = behaviour.etag ?? `"${body.length}"`;
    const from = Number(/^bytes=(\d+)-$/.exec(header("range") ?? "")?.[1] ?? 0);
    const partly = from > 0 && header("if-range") === etag && behaviour.noRanges !== true;
    const part = partly ? body.subarray(from) : body;
    const range = partly ? `Content-Range: bytes ${from}-${body.length - 1}/${body.length}\r\n` : "";
    socket.write(
      `HTTP/1.1 ${partly ? "206 Partial Content" : "200 OK"}\r\nETag: ${etag}\r\n${range}` +
        `Content-Length: ${part.length}\r\nConnection: close\r\n\r\n`,
    );
    const limit = misbehaves ? (behaviour.cutAfter ?? behaviour.stallAfter ?? part.length) : part.length;
    const served = part.subarray(0, limit);
    await this.send(socket, served, behaviour.pieces ?? 1);
    if (!misbehaves || limit === part.length) socket.end();
    else if (behaviour.stallAfter === undefined) {
      await breath(); // so that what was sent arrives before the news that there is no more
      socket.destroy();
    }
  }

  private async send(socket: Socket, bytes: Uint8Array, pieces: number): Promise<void> {
    const size = Math.ceil(bytes.length / pieces);
    for (let at = 0; at < bytes.length && !socket.destroyed; at += size) {
      if (at > 0) await breath();
      const piece = bytes.subarray(at, at + size);
      this.sent += piece.length;
      socket.write(piece);
    }
  }
}

async function breath(): Promise<void> {
  let waited = false;
  const attempt = () => {
    if (waited) return;
    waited = true;
    notYet("pausing");
  };
  await until("a breath", seconds(1), attempt, { every: milliseconds(5) });
}
