import { type Duration, formatDuration, milliseconds } from "./duration.ts";
import { type ErrorFields, KpiError } from "./errors.ts";

/** The pauses between attempts, in milliseconds; the last one repeats. Short first: most conditions are met soon. */
const backOff = [50, 100, 250, 500, 1_000, 2_000] as const;

/** The longest that a timer takes, in milliseconds, some 24 days: what is longer would end at once. */
const longestTimer = 2 ** 31 - 1;

class NotYet extends Error {}

/** Thrown by an attempt to say "try again"; `reason` is what a timeout reports as last seen. */
export function notYet(reason: string): never {
  throw new NotYet(reason);
}

export interface UntilOptions extends ErrorFields {
  /** Stops the wait; its reason is thrown. */
  signal?: AbortSignal;
  /** Fixed pause instead of the back-off table. */
  every?: Duration;
}

/**
 * The one way to wait for a condition. Attempts at once, again after a growing pause whenever the attempt says
 * `notYet`, and ends at once with any other error. A timeout says what was awaited, how long, how often it was tried
 * and what was last seen. The signal handed to the attempt is aborted when the deadline passes.
 */
export async function until<T>(
  what: string,
  deadline: Duration,
  attempt: (signal: AbortSignal) => T | Promise<T>,
  options: UntilOptions = {},
): Promise<T> {
  const { signal, every, ...fields } = options;
  const started = performance.now();
  const timeLimit = AbortSignal.timeout(Math.min(deadline, longestTimer));
  const stop = signal === undefined ? timeLimit : AbortSignal.any([signal, timeLimit]);
  let tries = 0;
  let last = "nothing yet";
  const give = (): never => {
    signal?.throwIfAborted();
    const waited = formatDuration(milliseconds(performance.now() - started));
    throw new KpiError("deadline", what, {
      ...fields,
      details: [
        `waited ${waited}, ${tries} ${tries === 1 ? "attempt" : "attempts"}; last saw: ${last}`,
        ...(fields.details ?? []),
      ],
    });
  };
  while (!stop.aborted) {
    tries += 1;
    try {
      return await orAborted(stop, attempt(stop));
    } catch (error) {
      if (stop.aborted) break;
      if (!(error instanceof NotYet)) throw error;
      last = error.message;
    }
    await pause(every ?? milliseconds(backOff[Math.min(tries - 1, backOff.length - 1)] ?? 2_000), stop);
  }
  return give();
}

/** Resolves after `duration`, or at once when `signal` aborts; for the back-off above and for drawing, not for waiting on things. */
async function pause(duration: Duration, signal: AbortSignal): Promise<void> {
  let left: number = duration;
  while (left >= 0 && !signal.aborted) {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, Math.min(left, longestTimer));
    const stop = () => resolve();
    signal.addEventListener("abort", stop, { once: true });
    await promise;
    signal.removeEventListener("abort", stop);
    clearTimeout(timer);
    left -= longestTimer;
  }
}

/** Lets time pass that is itself the point: how long a fault stays, when the next one is due. Never for waiting on a condition. Rejects with the abort's reason. */
export async function elapse(duration: Duration, signal: AbortSignal): Promise<void> {
  await pause(duration, signal);
  signal.throwIfAborted();
}

/** Waits for `work` unless `signal` aborts first; then its reason is thrown and the work's outcome is ignored. */
export async function orAborted<T>(signal: AbortSignal, work: T | Promise<T>): Promise<T> {
  if (work instanceof Promise) work.catch(() => {}); // nobody else listens when the signal is aborted already
  signal.throwIfAborted();
  const { promise, reject } = Promise.withResolvers<never>();
  const stop = () => reject(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  try {
    return await Promise.race([work, promise]);
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

/** Yields at once and then every `period` until `signal` aborts: the beat of a live display. */
export async function* ticks(period: Duration, signal: AbortSignal): AsyncGenerator<void> {
  while (!signal.aborted) {
    yield;
    await pause(period, signal);
  }
}
