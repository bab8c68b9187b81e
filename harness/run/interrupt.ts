import { readFileSync } from "node:fs";
import { seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";

/** Signals that follow each other faster than a person presses keys are one wish: a terminal tells a child, and so does its parent. */
const oneWish = seconds(1);

/** Whoever starts a program by nohup wants it to go on without a terminal: the signal was ignored before we were there. */
const ends: readonly NodeJS.Signals[] = startedByNohup() ? ["SIGINT", "SIGTERM"] : ["SIGINT", "SIGTERM", "SIGHUP"];

/** By the ignored signals of proc(5) status, a hexadecimal mask whose first bit is SIGHUP. */
function startedByNohup(): boolean {
  const [, last = "0"] = /^SigIgn:\s+\w*(\w)$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
  return (Number.parseInt(last, 16) & 1) === 1;
}

/**
 * Calls `stop` at the first Ctrl-C, SIGTERM or SIGHUP; a later one ends the process at once, and the next command reaps. Disposing stops
 * listening. Where SIGHUP was ignored from the beginning, it stays so.
 */
export function onInterrupt(stop: (why: KpiError) => void): Disposable {
  let since: number | undefined;
  const onSignal = (name: NodeJS.Signals) => {
    if (since === undefined) {
      since = performance.now();
      stop(new KpiError("interrupted", `interrupted by ${name}`));
    } else if (performance.now() - since > oneWish) process.exit(130);
  };
  for (const name of ends) process.on(name, onSignal);
  return { [Symbol.dispose]: () => ends.forEach((name) => process.off(name, onSignal)) };
}

/**
 * When nobody reads any more what this process prints (`kpi up | head`), it ends as it does when it is told to: what it was making is
 * unmade. Without this it would go on unseen, or, in bun, end in the middle of a write. What cannot be written otherwise (a full disk) ends
 * nothing that is being made: `onUnwritten` is told.
 */
export function endWithReader(onUnwritten: (why: Error) => void): void {
  let gone = false;
  const onError = (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") return onUnwritten(error);
    if (gone) return;
    gone = true;
    if (process.listenerCount("SIGTERM") === 0) process.exit(130);
    process.kill(process.pid, "SIGTERM");
  };
  for (const stream of [process.stdout, process.stderr]) stream.on("error", onError);
}

/** Says a line where results do not go. */
export const toStderr = (line: string): void => void process.stderr.write(`${line}\n`);

/** Tells who waits for the end what is going on. */
export function sayStopping(why: KpiError, say = toStderr): void {
  say(`kpi: ${why.what}: stopping and removing what is not finished; once more to leave at once`);
}

/**
 * Runs work that ends itself when the process is told to end: the signal is aborted, and the work unmakes what it made. That it does is
 * said on standard error, unless something else is drawn there.
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>, say = toStderr): Promise<T> {
  const stop = new AbortController();
  using _listening = onInterrupt((why) => {
    sayStopping(why, say);
    stop.abort(why);
  });
  return await work(stop.signal);
}
