import type { Socket } from "node:net";
import { notYet, orAborted, until } from "../core/deadline.ts";
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

/** Hang guard; longer than a penalty for a few refused keys. */
const limit = seconds(60);

/**
 * Tries to log in and says how it went; no session is opened. All attempts share one connection, because a server that
 * penalises failed ones (OpenSSH's PerSourcePenalties) counts connections that ended without a login. Whom it holds off for those of
 * a moment ago it does not speak to at all: that is tried again.
 */
export async function tryLogin(options: LoginOptions): Promise<LoginAnswer> {
  const what = `${options.user} was neither let in nor refused`;
  return until(what, limit, (signal) => attempt(options, signal));
}

async function attempt({ user, hostKey, open, attempts }: LoginOptions, signal: AbortSignal): Promise<LoginAnswer> {
  const expected = parsePublicKey(hostKey);
  const client = new SshClient();
  const socket = await open();
  const login = new LoginAttempts(user, attempts);
  let met = false;
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  client.once("ready", () => resolve(true));
  client.on("error", (error: LoginError) => (error.level === "client-authentication" ? resolve(false) : reject(error)));
  client.once("close", () => reject(new Error(closed)));
  try {
    client.connect({
      sock: socket,
      username: user,
      readyTimeout: limit,
      algorithms: { serverHostKey: [expected.type], kex: keyExchange },
      hostVerifier(key) {
        met = true;
        return key.toString("base64") === expected.base64;
      },
      authHandler: login.handler,
    });
    return login.answer(await orAborted(signal, promise));
  } catch (error) {
    const { level, message } = error as LoginError;
    if (!met && (level === "client-socket" || message === closed || message === unheard)) notYet(message);
    throw error;
  } finally {
    client.destroy();
    socket.destroy();
  }
}

type LoginError = Error & { readonly level?: string };
const closed = "the connection was closed during the handshake";
/** ssh2's words for a server that has not even told its version. */
const unheard = "Connection lost before handshake";
