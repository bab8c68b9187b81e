// The part of ssh2 1.17 that kpi uses. @types/ssh2 brings a second, older @types/node beside Bun's types.
declare module "ssh2" {
  import type { EventEmitter } from "node:events";
  import type { Socket } from "node:net";
  import type { Duplex, Readable } from "node:stream";

  export interface ConnectConfig {
    sock: Socket;
    username: string;
    readyTimeout: number;
    keepaliveInterval?: number;
    keepaliveCountMax?: number;
    /** Called for each attempt with the methods that the server still offers (null at first); `next(false)` gives up. */
    authHandler: (
      offered: string[] | null,
      partly: boolean | null,
      next: (attempt: AuthAttempt | false) => void,
    ) => void;
    algorithms: { serverHostKey: string[]; kex: string[] };
    hostVerifier(key: Buffer): boolean;
  }

  export type AuthAttempt =
    | { type: "none"; username: string }
    | { type: "publickey"; username: string; key: string }
    | { type: "password"; username: string; password: string };

  export interface ClientChannel extends Duplex {
    readonly stderr: Readable;
    readonly outgoing: { readonly id: number; readonly state: "open" | "eof" | "closing" | "closed" };
    readonly _client: { readonly _protocol: { signal(channel: number, name: string): void } };
    close(): void;
  }

  export class Client extends EventEmitter {
    connect(config: ConnectConfig): this;
    exec(command: string, done: (error: Error | undefined, channel: ClientChannel) => void): boolean;
    end(): this;
    destroy(): this;
  }

  /** The server half, for tests. */
  export interface ServerChannel extends Duplex {
    readonly stderr: Duplex;
    exit(code: number): void;
  }
  export interface AuthContext {
    readonly method: string;
    readonly username: string;
    readonly key?: { readonly algo: string; readonly data: Buffer };
    readonly signature?: Buffer;
    readonly blob?: Buffer;
    readonly hashAlgo?: string;
    accept(): void;
    reject(methods?: string[]): void;
  }
  export class Server extends EventEmitter {
    constructor(config: { hostKeys: string[] }, onConnection: (client: EventEmitter & { end(): void }) => void);
    listen(port: number, host: string, ready: () => void): this;
    address(): { port: number };
    close(): void;
  }
  export interface ParsedKey {
    verify(data: Buffer, signature: Buffer, hashAlgo?: string): boolean;
    getPublicSSH(): Buffer;
  }
  export const utils: { parseKey(text: string): ParsedKey | Error };
}
