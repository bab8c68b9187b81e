import { personsEnvironment, programEnvironment } from "./environment.ts"; // first: what libraries read when they are loaded is changed there
import { createWriteStream, mkdirSync, readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { dirname } from "node:path";
import { execa } from "execa";
import { type Duration, formatDuration, seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import type { Environment } from "../core/paths.ts";

/** How one outside program is run. Times are `Duration`s; paths are absolute. */
export interface RunOptions {
  cwd?: string;
  /** Added to what {@link programEnvironment} gives; what is undefined is taken out of it. */
  env?: Environment;
  /** Text for standard input; without it standard input is empty. */
  input?: string;
  /** Standard input stays open and empty: for a program that ends when its input does. */
  holdInput?: boolean;
  /** Hang guard. The whole tree of a confined program ends with it. */
  timeout?: Duration;
  signal?: AbortSignal;
  /** How long it may take to end after SIGTERM before it is killed; 5 s unless said otherwise. */
  grace?: Duration;
  /** Called for every whole line as it comes. */
  onLine?: (line: string, from: "stdout" | "stderr") => void;
  /** Both streams are also appended to this file. */
  log?: string;
  /** Exit codes that are no failure; `[0]` unless said otherwise. */
  accept?: readonly number[];
  /**
   * Run in a PID namespace of its own whose init dies with this process, however this process ends (SIGKILL too): nothing
   * that the program starts can be left behind. Needs root: `mayConfine`.
   */
  confined?: boolean;
  /** Killed when this process ends, however it ends (SIGKILL too); what it has started itself is not. */
  tied?: boolean;
  /** Secrets which must not appear in an error or a log, replaced by `***`. */
  secrets?: readonly string[];
  /** What the user can do when it fails. */
  hint?: string;
}

/** A program that has ended, as whoever listens is told. Secrets are `***`; `code` is absent when it was stopped or could not start. */
export interface EndedCommand {
  readonly program: string;
  /** Pasteable into a shell. */
  readonly command: string;
  readonly elapsed: Duration;
  readonly code?: number;
}

/** Whether this user may run programs confined. */
export const mayConfine = process.getuid?.() === 0;

const running = new Set<RunningCommand>();

// Those that run when this process ends by itself, say at a second Ctrl-C, are told to end.
process.once("exit", () => {
  for (const { pid } of running) terminate(pid);
});

/** Stops every program that this process runs; resolves when all are gone. For a process that is about to end. */
export async function stopCommands(): Promise<void> {
  await Promise.all([...running].map((command) => command.stop()));
}

const listeners = new Set<(ended: EndedCommand) => void>();

/** Tells of every program that ends in this process until disposed: a run's journal listens, so that no function needs a logger. */
export function onCommandEnd(listen: (ended: EndedCommand) => void): Disposable {
  listeners.add(listen);
  return { [Symbol.dispose]: () => void listeners.delete(listen) };
}

/** What a finished program left. One shape for success and for accepted failures. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly elapsed: Duration;
}

/** A program that is still running. */
export interface RunningCommand extends AsyncDisposable {
  readonly pid: number;
  /** Settles when it ends; rejects as `run` does. */
  readonly done: Promise<CommandResult>;
  /** SIGTERM, then SIGKILL when the grace is over; resolves when it is gone. */
  stop(): Promise<void>;
}

/** Runs a program to its end. Throws a `command` error, with the pasteable command and its last lines, unless the exit code is accepted. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<CommandResult> {
  return start(command, args, options).done;
}

/** Starts a program and hands it over while it runs. */
export function start(command: string, args: readonly string[], options: RunOptions = {}): RunningCommand {
  const { accept = [0], secrets = [] } = options;
  const [file, argv] =
    options.confined === true ? confine(command, args) : options.tied === true ? tie(command, args) : [command, args];
  const hide = (text: string) =>
    secrets.reduce((out, secret) => (secret === "" ? out : out.replaceAll(secret, "***")), text);
  const log = options.log === undefined ? undefined : openLog(options.log);
  const began = performance.now();
  const stopping = new AbortController();
  const cancelSignal =
    options.signal === undefined ? stopping.signal : AbortSignal.any([options.signal, stopping.signal]);

  const child = execa(file, argv, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { ...programEnvironment(), ...options.env },
    extendEnv: false,
    ...(options.input !== undefined
      ? { input: options.input }
      : { stdin: options.holdInput === true ? ("pipe" as const) : ("ignore" as const) }),
    ...(options.timeout === undefined ? {} : { timeout: options.timeout }),
    // In a session of its own: Ctrl-C is ours to hear. Terraform takes the terminal's and ours for two, and leaves without saving its state.
    detached: true,
    cancelSignal,
    forceKillAfterDelay: options.grace ?? seconds(5),
    maxBuffer: 64 * 1024 * 1024,
    reject: false,
    stripFinalNewline: true,
  });

  // unshare ignores SIGTERM while it waits for its child, so the child is told directly.
  if (options.confined === true)
    cancelSignal.addEventListener("abort", () => terminateChildren(child.pid), { once: true });

  const feed = async (from: "stdout" | "stderr") => {
    if (options.onLine === undefined && log === undefined) return;
    for await (const line of child.iterable({ from, preserveNewlines: false })) {
      const shown = hide(String(line));
      log?.write(`${shown}\n`);
      options.onLine?.(shown, from);
    }
  };

  const finish = async (): Promise<CommandResult> => {
    const [result] = await Promise.all([child, feed("stdout").catch(() => {}), feed("stderr").catch(() => {})]);
    if (log !== undefined) await new Promise<void>((resolve) => log.end(resolve));
    const elapsed = (performance.now() - began) as Duration;
    const told = { program: command, command: hide(shellQuote([command, ...args])), elapsed };
    const { exitCode: code } = result;
    for (const listen of listeners) listen({ ...told, ...(code === undefined ? {} : { code }) });
    const stdout = hide(String(result.stdout ?? ""));
    const stderr = hide(String(result.stderr ?? ""));
    if (stopping.signal.aborted) return { code: result.exitCode ?? 128, stdout, stderr, elapsed };
    options.signal?.throwIfAborted();
    if (result.exitCode !== undefined && accept.includes(result.exitCode)) {
      return { code: result.exitCode, stdout, stderr, elapsed };
    }
    const how = result.timedOut
      ? `did not end within ${formatDuration(options.timeout ?? 0)}`
      : result.signal !== undefined
        ? `was ended by ${result.signal}`
        : result.exitCode !== undefined
          ? `ended with exit code ${result.exitCode}`
          : `could not be started (${result.code ?? "unknown"})`;
    const lastLines = (stderr.trim() === "" ? stdout : stderr)
      .trim()
      .split("\n")
      .slice(-12)
      .filter((line) => line !== "");
    throw new KpiError("command", `${command} ${how}`, {
      command: hide(shellQuote([command, ...args])),
      details: lastLines,
      ...(options.hint === undefined ? {} : { hint: options.hint }),
      ...(options.log === undefined ? {} : { evidence: [options.log] }),
    });
  };

  const done = finish();
  const stop = async () => {
    stopping.abort();
    await done.catch(() => {});
  };
  const started = { pid: child.pid ?? -1, done, stop, [Symbol.asyncDispose]: stop };
  running.add(started);
  const forget = () => void running.delete(started);
  done.then(forget, forget); // a caller that only stops it must not see an unhandled rejection
  return started;
}

/** Hands the terminal to a program until it ends, for a person to talk to it; gives its exit code. */
export async function attach(command: string, args: readonly string[], env: Environment = {}): Promise<number> {
  const result = await execa(command, args, {
    env: { ...personsEnvironment(), ...env },
    extendEnv: false,
    stdio: "inherit",
    reject: false,
  });
  if (result.exitCode === undefined && result.signal === undefined) {
    throw new KpiError("command", `${command} could not be started (${result.code ?? "unknown"})`, {
      command: shellQuote([command, ...args]),
    });
  }
  return result.exitCode ?? 1;
}

/** Runs a program behind a connection: what comes is its input, its output is sent. Each ends with the other, and with this process. */
export function serve(command: string, args: readonly string[], socket: Socket): void {
  const child = execa(...tie(command, args), {
    env: programEnvironment(),
    extendEnv: false,
    stdio: ["pipe", "pipe", "ignore"],
    detached: true,
    buffer: false,
    reject: false,
  });
  child.stdin.on("error", () => {}); // it has ended, which is seen by its output
  socket.once("error", () => socket.destroy()).once("close", () => child.kill());
  socket.pipe(child.stdin);
  child.stdout.pipe(socket);
}

/** setpriv becomes the program, whose life is then tied to ours. */
function tie(command: string, args: readonly string[]): [string, string[]] {
  return ["setpriv", ["--pdeathsig", "KILL", "--", command, ...args]];
}

/** unshare's life is tied to ours, it ties the new init's to its own, and the kernel ends the rest with the init. */
function confine(command: string, args: readonly string[]): [string, string[]] {
  return tie("unshare", ["--pid", "--fork", "--mount-proc", "--kill-child=KILL", "--", command, ...args]);
}

function terminateChildren(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ");
    for (const child of children) if (child !== "") terminate(Number(child));
  } catch {
    // gone already
  }
}

function terminate(pid: number): void {
  if (pid <= 1) return; // one that could not be started has none, and to kill(2) that is a group, or everybody
  try {
    process.kill(pid, "SIGTERM");
  } catch {
    // gone already
  }
}

function openLog(path: string) {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  return createWriteStream(path, { flags: "a", mode: 0o600 });
}

/** One line that a POSIX shell reads back as these words. */
export function shellQuote(words: readonly string[]): string {
  return words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(" ");
}
