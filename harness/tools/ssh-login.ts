import type { Socket } from "node:net";
import { orAborted } from "../core/deadline.ts";
import { seconds } from "../core/duration.ts";
import { keyExchange, SshClient } from "./ssh.ts";
import { parsePublicKey } from "./ssh-key.ts";

/** One way to try to log in. Keys and passwords are secret. */
export type LoginAttempt =
  | { readonly method: "none" }
  | { readonly method: "publickey"; readonly privateKey: string }
  | { readonly method: "password"; readonly password: string };

export interface LoginOptions {
  readonly user: string;
  readonly hostKey: string;
  readonly open: () => Promise<Socket>;
  /** Tried in this order, in one connection, until one is accepted. */
  readonly attempts: readonly LoginAttempt[];
}

/** What a server said to the attempts. */
export interface LoginAnswer {
  /** Index of the accepted attempt; -1 when all were refused. */
  readonly accepted: number;
  /** Methods that the server offers to this user, as far as it told. */
  readonly offered: readonly string[];
}

/** Hang guard of one connection. */
const limit = seconds(60);

/**
 * Tries to log in and says how it went; no session is opened. All attempts share one connection, because a server that
 * penalises failed ones (OpenSSH's PerSourcePenalties) counts connections that ended without a login.
 */
export async function tryLogin({ user, hostKey, open, attempts }: LoginOptions): Promise<LoginAnswer> {
  const expected = parsePublicKey(hostKey);
  const client = new SshClient();
  const offered = new Set<string>();
  const socket = await open();
  let next = 0;
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  client.once("ready", () => resolve(true));
  client.on("error", (error: Error & { level?: string }) =>
    error.level === "client-authentication" ? resolve(false) : reject(error),
  );
  client.once("close", () => reject(new Error("the connection was closed during the handshake")));
  try {
    client.connect({
      sock: socket,
      username: user,
      readyTimeout: limit,
      algorithms: { serverHostKey: [expected.type], kex: keyExchange },
      hostVerifier: (key) => key.toString("base64") === expected.base64,
      authHandler(left, _partly, go) {
        for (const method of left ?? []) offered.add(method);
        const attempt = attempts[next++];
        if (attempt === undefined) return go(false);
        if (attempt.method === "none") return go({ type: "none", username: user });
        if (attempt.method === "password") return go({ type: "password", username: user, password: attempt.password });
        return go({ type: "publickey", username: user, key: attempt.privateKey });
      },
    });
    const accepted = await orAborted(AbortSignal.timeout(limit), promise);
    return { accepted: accepted ? next - 1 : -1, offered: [...offered].sort() };
  } finally {
    client.destroy();
    socket.destroy();
  }
}
