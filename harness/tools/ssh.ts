import { connect, type Socket } from "node:net";
import { Client, type ClientChannel } from "ssh2";
import { notYet, orAborted, until } from "../core/deadline.ts";
import { type Duration, formatDuration, milliseconds, seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { type CommandResult, shellQuote } from "./exec.ts";
import { LineReader } from "./lines.ts";
import { type LoginAnswer, type LoginAttempt, LoginAttempts } from "./ssh-auth.ts";
import { parsePublicKey } from "./ssh-key.ts";

export { Client as SshClient } from "ssh2";

/** How to reach one machine. */
export interface ConnectOptions {
  readonly host: string;
  /** 22 unless said otherwise. */
  readonly port?: number;
  readonly user: string;
  /** OpenSSH private format; secret. */
  readonly privateKey: string;
  /** Public key line of the host (or its base64): exactly this key is accepted, from the first connection on. */
  readonly hostKey: string;
  /** Opens the stream when it is no plain TCP connection, for instance a CONNECT tunnel. */
  readonly open?: (signal: AbortSignal) => Promise<Socket>;
  /** Hang guard over all attempts; a refused or dropped connection is tried again until then. */
  readonly deadline: Duration;
  /** Tried first, in the same connection; what came of it, the connection's `login` tells. Nothing unless said otherwise. */
  readonly before?: readonly LoginAttempt[];
  /** While a machine boots, its sshd may refuse a key that it accepts a moment later: try that again as well. */
  readonly booting?: boolean;
  readonly signal?: AbortSignal;
}

export interface ExecOptions {
  readonly timeout?: Duration;
  readonly signal?: AbortSignal;
  /** Text for standard input; without it standard input is empty. */
  readonly input?: string;
  /** Called for every whole line as it comes. */
  readonly onLine?: (line: string, from: "stdout" | "stderr") => void;
  /** Exit codes that are no failure; `[0]` unless said otherwise. */
  readonly accept?: readonly number[];
  /** Secrets which must not appear in an error, replaced by `***`. */
  readonly secrets?: readonly string[];
  readonly hint?: string;
}

/** A verified connection to one machine; any number of commands may run over it at once. */
export interface NodeConnection extends AsyncDisposable {
  /** What the server said: to those who tried before, and to the key, which comes last. */
  readonly login: LoginAnswer;
  /** Resolves when the connection has ended, from whichever side. */
  readonly closed: Promise<void>;
  /** Runs a shell command to its end; errors as `run` of exec.ts. After a timeout or abort the command is sent SIGTERM. */
  exec(command: string, options?: ExecOptions): Promise<CommandResult>;
  /** Text of a file, read as root with `sudo` when asked. */
  readFile(path: string, options?: { readonly sudo?: boolean; readonly signal?: AbortSignal }): Promise<string>;
  close(): Promise<void>;
}

/** One attempt's handshake: generous, because an emulated machine under load takes seconds for it. */
const handshakeLimit = seconds(30);

/**
 * Connects and verifies the host key. Throws a `host` error at once when the key is another one or the user's key is
 * refused, and a `deadline` error with what was last seen when the machine did not answer in time.
 */
export async function connectSsh(options: ConnectOptions): Promise<NodeConnection> {
  const where = `${options.user}@${options.host}`;
  const hint = { ...(options.signal === undefined ? {} : { signal: options.signal }) };
  return until(`ssh to ${where} did not come up`, options.deadline, (signal) => attempt(options, where, signal), hint);
}

/** Elliptic curves only, which OpenSSH has had since 6.5; this order, because P-256 costs an emulated server 0.05 of a connection's 0.45 s less than Curve25519. */
export const keyExchange = ["ecdh-sha2-nistp256", "curve25519-sha256", "ecdh-sha2-nistp384", "ecdh-sha2-nistp521"];

async function attempt(options: ConnectOptions, where: string, signal: AbortSignal): Promise<NodeConnection> {
  const expected = parsePublicKey(options.hostKey);
  let seenKey: string | undefined;
  const socket = await openSocket(options, signal).catch((error: unknown) => {
    if (error instanceof KpiError) throw error;
    return notYet(messageOf(error));
  });
  const client = new Client();
  const ours: LoginAttempt = { type: "publickey", key: options.privateKey };
  const login = new LoginAttempts(options.user, [...(options.before ?? []), ours]);
  const { promise: ready, resolve, reject } = Promise.withResolvers<void>();
  const { promise: closed, resolve: ended } = Promise.withResolvers<void>();
  socket.once("end", () => socket.destroy()); // a tunnel's is half open, and ssh has nothing to say to who hears nothing more
  client.once("ready", resolve);
  client.on("error", reject); // later errors come here too, and show as a lost connection
  client.once("close", () => {
    ended();
    reject(new Error("the connection was closed during the handshake"));
  });
  try {
    client.connect({
      sock: socket,
      username: options.user,
      authHandler: login.handler,
      readyTimeout: handshakeLimit,
      keepaliveInterval: 15_000,
      keepaliveCountMax: 8,
      algorithms: { serverHostKey: [expected.type], kex: keyExchange },
      hostVerifier: (key) => (seenKey = key.toString("base64")) === expected.base64,
    });
    await orAborted(signal, ready);
    return new Connection(client, socket, where, login.answer(true), closed);
  } catch (error) {
    client.destroy();
    socket.destroy();
    if (signal.aborted) throw error;
    if (seenKey !== undefined && seenKey !== expected.base64) throw wrongHostKey(where, expected, seenKey);
    if (/no matching host key/i.test(messageOf(error))) throw wrongHostKey(where, expected, "no key of this type");
    if (levelOf(error) === "client-authentication") {
      if (options.booting === true) return notYet(`${options.host} refused the key`);
      throw new KpiError("host", `${options.host} refused the key of ${where}`, {
        hint: "the key belongs to another cluster, or the machine has not finished its first boot",
        cause: error,
      });
    }
    return notYet(messageOf(error));
  }
}

function wrongHostKey(where: string, expected: { type: string; base64: string }, got: string): KpiError {
  return new KpiError("host", `the ssh host key of ${where} is not the one this cluster was given`, {
    expected: `${expected.type} ${expected.base64}`,
    got,
    hint: "another machine answers at this address; nothing was sent to it",
  });
}

async function openSocket(options: ConnectOptions, signal: AbortSignal): Promise<Socket> {
  if (options.open !== undefined) {
    const opening = options.open(signal);
    void opening.then((late) => signal.aborted && late.destroy()).catch(() => {});
    return orAborted(signal, opening);
  }
  const socket = connect({ host: options.host, port: options.port ?? 22, noDelay: true });
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  socket.once("connect", resolve).once("error", reject);
  try {
    await orAborted(signal, promise);
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  }
}

class Connection implements NodeConnection {
  constructor(
    private readonly client: Client,
    private readonly socket: Socket,
    private readonly where: string,
    readonly login: LoginAnswer,
    readonly closed: Promise<void>,
  ) {}

  async exec(command: string, options: ExecOptions = {}): Promise<CommandResult> {
    const began = performance.now();
    const limit = options.timeout === undefined ? undefined : AbortSignal.timeout(options.timeout);
    const stop = AbortSignal.any([options.signal, limit].filter((signal) => signal !== undefined));
    const hide = (text: string) =>
      (options.secrets ?? []).reduce((out, secret) => (secret === "" ? out : out.replaceAll(secret, "***")), text);
    const fail = (how: string, lines: readonly string[] = []) =>
      new KpiError("command", `${hide(command.split(/\s/, 1)[0] ?? "")} on ${this.where} ${how}`, {
        command: hide(shellQuote(["ssh", this.where, command])),
        details: lines,
        ...(options.hint === undefined ? {} : { hint: options.hint }),
      });

    stop.throwIfAborted();
    const opening = this.open(command, fail, options.onLine);
    const lost = this.closed.then(() => {
      throw fail(lostConnection);
    });
    lost.catch(() => {}); // only the race below listens
    try {
      const { channel, finished } = await orAborted(stop, opening);
      channel.end(options.input ?? "");
      const { code, signal, stdout, stderr } = await orAborted(stop, Promise.race([finished, lost]));
      const elapsed = milliseconds(performance.now() - began);
      const result = { stdout: hide(stdout.replace(/\n$/, "")), stderr: hide(stderr.replace(/\n$/, "")), elapsed };
      if (code !== undefined && (options.accept ?? [0]).includes(code)) return { code, ...result };
      if (code !== undefined) throw fail(`ended with exit code ${code}`, lastLines(result));
      throw fail(signal === undefined ? lostConnection : `was ended by ${signal}`, lastLines(result));
    } catch (error) {
      if (!stop.aborted) throw error;
      opening.then(({ channel }) => terminate(channel)).catch(() => {}); // a machine that hung may open it yet
      options.signal?.throwIfAborted();
      throw fail(`did not end within ${formatDuration(options.timeout ?? 0)}`);
    }
  }

  async readFile(path: string, options: { sudo?: boolean; signal?: AbortSignal } = {}): Promise<string> {
    const { sudo = false, ...rest } = options;
    // The marker keeps the final newlines, which a command's output loses.
    const command = shellQuote([...(sudo ? ["sudo", "-n"] : []), "cat", "--", path]);
    const { stdout } = await this.exec(`${command} && echo .`, { timeout: seconds(60), ...rest });
    return stdout.slice(0, -1);
  }

  async close(): Promise<void> {
    this.client.end();
    this.socket.destroySoon(); // ssh2 would wait for the other side to end as well, and a machine without power never does
    await this.closed;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** The callback must attach its listeners at once: a quick command's exit status comes in the same packet as its start. */
  private open(
    command: string,
    fail: (how: string) => KpiError,
    onLine: ExecOptions["onLine"],
  ): Promise<{ channel: ClientChannel; finished: Promise<Finished> }> {
    const { promise, resolve, reject } = Promise.withResolvers<{
      channel: ClientChannel;
      finished: Promise<Finished>;
    }>();
    const refused = (error: Error) => reject(fail(`could not be started: ${error.message}`));
    try {
      this.client.exec(command, (error, channel) =>
        error === undefined ? resolve({ channel, finished: follow(channel, onLine) }) : refused(error),
      );
    } catch (error) {
      refused(error as Error); // "Not connected"
    }
    void this.closed.then(() => refused(new Error("the ssh connection was lost")));
    return promise;
  }
}

const lostConnection = "was cut off: the ssh connection was lost";

/** ssh2's own `signal` says nothing once standard input has ended, although the protocol allows it (RFC 4254, 5.3). */
function terminate(channel: ClientChannel): void {
  const { id, state } = channel.outgoing;
  if (state === "open" || state === "eof") channel._client._protocol.signal(id, "TERM");
  channel.close();
}

interface Finished {
  readonly code: number | undefined;
  readonly signal: string | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** Collects a channel's output until it closes. */
function follow(channel: ClientChannel, onLine: ExecOptions["onLine"]): Promise<Finished> {
  const { promise, resolve } = Promise.withResolvers<Finished>();
  const stdout = new LineReader((line) => onLine?.(line, "stdout"));
  const stderr = new LineReader((line) => onLine?.(line, "stderr"));
  let code: number | undefined;
  let signal: string | undefined;
  channel.on("data", (chunk: Buffer) => stdout.push(chunk));
  channel.stderr.on("data", (chunk: Buffer) => stderr.push(chunk));
  channel.on("error", () => {}); // a reset; "close" follows
  channel.on("exit", (exit: number | null, name?: string) => {
    code = exit ?? undefined;
    signal = name;
  });
  channel.on("close", () => resolve({ code, signal, stdout: stdout.end(), stderr: stderr.end() }));
  return promise;
}

function lastLines(result: { stdout: string; stderr: string }): string[] {
  const text = result.stderr.trim() === "" ? result.stdout : result.stderr;
  return text
    .trim()
    .split("\n")
    .slice(-12)
    .filter((line) => line !== "");
}

const messageOf = (error: unknown): string => (error instanceof Error ? error.message || error.name : String(error));
const levelOf = (error: unknown): unknown => (error as { level?: unknown }).level;
