import type { Socket } from "node:net";
import { until } from "../core/deadline.ts";
import { seconds } from "../core/duration.ts";
import { keyExchange, SshClient } from "./ssh.ts";
import { type LoginAnswer, type LoginAttempt, LoginAttempts } from "./ssh-auth.ts";
import { parsePublicKey } from "./ssh-key.ts";

export interface LoginOptions {
  readonly user: string;
  readonly hostKey: string;
  readonly open: () => Promise<Socket>;
  /** Tried in this order, in one connection, until one is accepted. */
  readonly attempts: readonly LoginAttempt[];
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
  const socket = await open();
  const login = new LoginAttempts(user, attempts);
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
      authHandler: login.handler,
    });
    return login.answer(await until(`${user} was neither let in nor refused`, limit, () => promise));
  } finally {
    client.destroy();
    socket.destroy();
  }
}
