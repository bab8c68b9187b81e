import { personsEnvironment, programEnvironment } from "./environment.ts"; // first: what libraries read when they are loaded is changed there
import { createWriteStream, mkdirSync, readFileSync } from "node:fs";
import type { Socket } from "node:net";
import { dirname } from "node:path";
import { execa } from "execa";
import { elapse } from "../core/deadline.ts";
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
  /** Hang guard: told to end by then, as by `signal`, and a failure whatever its exit code is. */
  timeout?: Duration;
  signal?: AbortSignal;
  /** How long it may take to end after SIGTERM before it is killed, with all of its session; 5 s unless said otherwise. */
  grace?: Duration;
  /** What it has started itself is never told to end, and is waited for. */
  sparing?: boolean;
  /** Called for every whole line as it comes. */
  onLine?: (line: string, from: "stdout" | "stderr") => void;
  /** Both streams are also appended to this file. One that cannot be written fails a program that did not fail, when it has ended. */
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
  const { accept = [0], secrets = [], grace = seconds(5) } = options;
  const [file, argv] =
    options.confined === true ? confine(command, args) : options.tied === true ? tie(command, args) : [command, args];
  const hide = (text: string) =>
    secrets.reduce((out, secret) => (secret === "" ? out : out.replaceAll(secret, "***")), text);
  const log = options.log === undefined ? undefined : openLog(options.log);
  const began = performance.now();
  const [stopping, overdue, over] = [new AbortController(), new AbortController(), new AbortController()];
  const cancelSignal = AbortSignal.any([
    ...(options.signal === undefined ? [] : [options.signal]),
    stopping.signal,
    overdue.signal,
  ]);

  const child = execa(file, argv, {
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    env: { ...programEnvironment(), ...options.env },
    extendEnv: false,
    ...(options.input !== undefined
      ? { input: options.input }
      : { stdin: options.holdInput === true ? ("pipe" as const) : ("ignore" as const) }),
    // In a session of its own: Ctrl-C is ours to hear. Terraform takes the terminal's and ours for two, and leaves without saving its state.
    detached: true,
    cancelSignal,
    forceKillAfterDelay: grace,
    maxBuffer: 64 * 1024 * 1024,
    reject: false,
    stripFinalNewline: true,
  });

  // The number of its group is nobody else's while one of the group runs.
  let orphans = false;
  const { nodeChildProcess: leader } = child;
  leader.once("exit", () => {
    orphans = options.sparing !== true && signalGroup(child.pid, 0);
    if (orphans && cancelSignal.aborted) signalGroup(child.pid, "SIGTERM");
  });
  const windDown = async () => {
    // unshare ignores SIGTERM while it waits for its child, so the child is told directly.
    if (options.confined === true) terminateChildren(child.pid);
    if (orphans) signalGroup(child.pid, "SIGTERM");
    if (options.sparing === true) return;
    await elapse(grace, over.signal);
    if (orphans || (leader.exitCode === null && leader.signalCode === null)) signalGroup(child.pid, "SIGKILL");
    await elapse(seconds(1), over.signal);
    // Somebody who has left the group holds them.
    child.stdout.destroy();
    child.stderr.destroy();
  };
  const ignored = () => {}; // it is over before
  const windsDown = () => void windDown().catch(ignored);
  if (cancelSignal.aborted) windsDown();
  else cancelSignal.addEventListener("abort", windsDown, { once: true });
  if (options.timeout !== undefined) elapse(options.timeout, over.signal).then(() => overdue.abort(), ignored);

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
    over.abort();
    cancelSignal.removeEventListener("abort", windsDown); // its numbers may be another program's from now on
    const unwritten = await log?.end();
    const elapsed = (performance.now() - began) as Duration;
    const told = { program: command, command: hide(shellQuote([command, ...args])), elapsed };
    const { exitCode: code } = result;
    for (const listen of listeners) listen({ ...told, ...(code === undefined ? {} : { code }) });
    const stdout = hide(String(result.stdout ?? ""));
    const stderr = hide(String(result.stderr ?? ""));
    if (stopping.signal.aborted) return { code: result.exitCode ?? 128, stdout, stderr, elapsed };
    options.signal?.throwIfAborted();
    const late = result.isCanceled && overdue.signal.aborted;
    if (!late && result.exitCode !== undefined && accept.includes(result.exitCode)) {
      if (unwritten !== undefined) throw unwritten;
      return { code: result.exitCode, stdout, stderr, elapsed };
    }
    const how = late
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

/** Signals a program's group, and says whether it has members. */
function signalGroup(pid: number | undefined, signal: NodeJS.Signals | 0): boolean {
  if (pid === undefined || pid <= 1) return false;
  try {
    return process.kill(-pid, signal);
  } catch {
    return false;
  }
}

/** A file that is appended to. `end` gives what kept it from being written, if anything did. */
function openLog(path: string) {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const stream = createWriteStream(path, { flags: "a", mode: 0o600 });
  const { promise, resolve } = Promise.withResolvers<NodeJS.ErrnoException | undefined>();
  stream.on("error", resolve).once("close", () => resolve(undefined));
  const end = async () => {
    stream.end();
    const error = await promise;
    // A failed write does not say of what.
    return error === undefined || error.path !== undefined
      ? error
      : Object.assign(error, { path, message: `${error.message} '${path}'` });
  };
  return { write: (text: string) => void stream.write(text), end };
}

/** One line that a POSIX shell reads back as these words. */
export function shellQuote(words: readonly string[]): string {
  return words.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)).join(" ");
}
