import { elapse, orAborted } from "../core/deadline.ts";
import { type Duration, formatDuration, milliseconds, seconds } from "../core/duration.ts";
import { type ErrorFields, KpiError, renderError } from "../core/errors.ts";
import { faultsInForce } from "./fault.ts";

/** Something that must hold all the time. `check` throws when it does not; the signal aborts when the check has taken too long. */
export interface Invariant {
  /** `the API answers` */
  readonly what: string;
  check(signal: AbortSignal): void | Promise<void>;
}

/** Runs a part of the work under a name, which a report of a break then tells. */
export type Step = <T>(name: string, work: () => Promise<T>) => Promise<T>;

export interface DuringOptions {
  /** Pause between two checks; 500 ms unless said otherwise. */
  readonly every?: Duration;
  /** A check that takes longer than this has failed; 5 s unless said otherwise. */
  readonly limit?: Duration;
  readonly signal?: AbortSignal;
}

/** What the checks saw when the invariant held throughout. */
export interface Held<T> {
  readonly value: T;
  readonly checks: number;
  /** The longest time between the ends of two checks that held: what could have been missed. */
  readonly longestGap: Duration;
}

/** The first time that it did not hold. `at`: since the work began. `doing`: the steps and faults that were in force from the check's start to its end. */
interface Break {
  readonly at: Duration;
  readonly check: number;
  readonly doing: readonly string[];
  readonly error: unknown;
}

/**
 * Runs work while an invariant is checked: once before it begins, throughout, and once after it has ended. The work goes on
 * to its end when the invariant breaks, so that faults heal and the rest is seen; then a `claim` error says when it first
 * broke, what was being done at that moment, and when it held again. An error of the work itself goes first.
 */
export async function during<T>(
  invariant: Invariant,
  work: (step: Step) => Promise<T>,
  options: DuringOptions = {},
): Promise<Held<T>> {
  const { every = milliseconds(500), limit = seconds(5), signal } = options;
  const steps = new Set<string>();
  const step: Step = async (name, part) => {
    steps.add(name);
    try {
      return await part();
    } finally {
      steps.delete(name);
    }
  };
  const doing = () => [...steps, ...faultsInForce()];
  let began = performance.now();
  const now = () => milliseconds(performance.now() - began);
  let checks = 0;
  let broken: Break | undefined;
  let heldAgain: Duration | undefined;
  let lastHeld = 0;
  let longestGap = 0;

  const look = async () => {
    checks += 1;
    const before = doing();
    const from = now();
    try {
      const time = AbortSignal.timeout(limit);
      await orAborted(time, invariant.check(time) ?? undefined).catch((error: unknown) => {
        throw time.aborted ? new KpiError("deadline", `the check took longer than ${formatDuration(limit)}`) : error;
      });
      if (broken !== undefined) heldAgain ??= now();
      longestGap = Math.max(longestGap, now() - lastHeld);
      lastHeld = now();
    } catch (error) {
      broken ??= { at: from, check: checks, doing: [...new Set([...before, ...doing()])], error };
    }
  };

  await look();
  if (broken !== undefined) throw report(invariant, broken, undefined, "it did not hold before anything was done");
  began = performance.now();
  lastHeld = 0;
  longestGap = 0;
  const over = new AbortController();
  const stop = signal === undefined ? over.signal : AbortSignal.any([over.signal, signal]);
  const watching = (async () => {
    while (!stop.aborted) {
      await look();
      await elapse(every, stop).catch(() => {}); // the loop's condition sees the abort
    }
  })();
  try {
    const value = await work(step);
    over.abort();
    await watching;
    await look();
    if (broken === undefined) return { value, checks, longestGap: milliseconds(longestGap) };
  } catch (error) {
    over.abort();
    await watching;
    if (broken === undefined || !(error instanceof KpiError)) throw error;
    throw error.with({ details: ["before that:", ...explain(invariant, broken, heldAgain)] });
  }
  throw report(invariant, broken, heldAgain, `did not hold throughout: ${invariant.what}`);
}

function report(invariant: Invariant, broken: Break, heldAgain: Duration | undefined, what: string): KpiError {
  const fields: ErrorFields = { details: explain(invariant, broken, heldAgain), cause: broken.error };
  return new KpiError("claim", what, fields);
}

function explain(invariant: Invariant, { at, check, doing, error }: Break, heldAgain: Duration | undefined): string[] {
  const cause = error instanceof KpiError ? renderError(error) : error instanceof Error ? error.message : String(error);
  return [
    `${invariant.what}: first broke ${formatDuration(at)} after the start, at check ${check}`,
    `being done: ${doing.join("; ") || "nothing that has a name"}`,
    ...cause.split("\n").map((line) => `seen: ${line}`),
    heldAgain === undefined ? "it did not hold again" : `held again after ${formatDuration(heldAgain - at)}`,
  ];
}
