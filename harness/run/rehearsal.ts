import { elapse } from "../core/deadline.ts";
import { type Duration, milliseconds } from "../core/duration.ts";
import { describeFault, faultNodes, type FaultSpec } from "../core/fault-spec.ts";
import type { Fault } from "./fault.ts";
import type { Scheduled } from "./schedule.ts";

/** What happened to one fault of a schedule. `t`: milliseconds since the schedule began. */
export interface RehearsalEvent {
  readonly t: Duration;
  readonly fault: FaultSpec;
  readonly what: string;
  readonly state: "starting" | "in force" | "healing" | "healed" | "failed";
  readonly error?: unknown;
}

export interface RehearsalOptions {
  readonly signal: AbortSignal;
  readonly onEvent?: (event: RehearsalEvent) => void;
}

/**
 * Runs a schedule: each fault begins when it is due, or as soon as the one before on its node has healed, which a booting
 * node may take longer for than was planned. Returns when all have healed. The first failure (or an abort) keeps further
 * faults from beginning, heals those in force, and is thrown.
 */
export async function rehearse(
  schedule: readonly Scheduled[],
  inflict: (fault: FaultSpec, signal: AbortSignal) => Promise<Fault>,
  { signal, onEvent }: RehearsalOptions,
): Promise<void> {
  const began = performance.now();
  const now = () => milliseconds(performance.now() - began);
  const failed = new AbortController();
  const stop = AbortSignal.any([signal, failed.signal]);
  const before = new Map<string, Promise<void>>();

  const one = async ({ at, fault, for: stays }: Scheduled, free: readonly (Promise<void> | undefined)[]) => {
    const what = describeFault(fault);
    const tell = (state: RehearsalEvent["state"], error?: unknown) =>
      onEvent?.({ t: now(), fault, what, state, ...(error === undefined ? {} : { error }) });
    try {
      await elapse(milliseconds(Math.max(0, at - now())), stop);
      await Promise.all(free);
      stop.throwIfAborted();
      tell("starting");
      const inForce = await inflict(fault, stop);
      tell("in force");
      await elapse(stays, stop).catch(() => {}); // heal first; the abort is thrown below
      tell("healing");
      await inForce.heal();
      tell("healed");
    } catch (error) {
      if (!stop.aborted || error !== stop.reason) tell("failed", error);
      failed.abort(error);
    }
  };

  await Promise.all(
    schedule.map((scheduled) => {
      const names = faultNodes(scheduled.fault);
      const about = names.length === 0 ? [scheduled.fault.kind] : names;
      const running = one(
        scheduled,
        about.map((name) => before.get(name)),
      );
      for (const name of about) before.set(name, running);
      return running;
    }),
  );
  stop.throwIfAborted();
}
