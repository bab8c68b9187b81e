import { minutes, milliseconds } from "../core/duration.ts";
import { notYet, until } from "../core/deadline.ts";

/**
 * Does things side by side. The first failure stops the others through the signal that each is given, and is thrown once
 * all have ended: nothing goes on behind the caller's back.
 */
export async function together<In, Out>(
  inputs: readonly In[],
  signal: AbortSignal | undefined,
  work: (input: In, signal: AbortSignal) => Promise<Out>,
): Promise<Out[]> {
  const stop = new AbortController();
  const either = signal === undefined ? stop.signal : AbortSignal.any([signal, stop.signal]);
  const settled = await Promise.allSettled(
    inputs.map((input) =>
      work(input, either).catch((error: unknown) => {
        if (!stop.signal.aborted) stop.abort(error);
        throw error;
      }),
    ),
  );
  signal?.throwIfAborted();
  if (stop.signal.aborted) throw stop.signal.reason;
  return settled.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
}

/** So many at once and no more. */
export class Slots {
  constructor(private free: number) {}

  /** Waits for a free one; disposing of it frees it. */
  async take(signal: AbortSignal, onWait: () => void): Promise<Disposable> {
    const attempt = (): Disposable => {
      if (this.free === 0) {
        onWait();
        return notYet("all are taken");
      }
      this.free -= 1;
      return { [Symbol.dispose]: () => void (this.free += 1) };
    };
    return await until("a free place to build", minutes(120), attempt, { every: milliseconds(200), signal });
  }
}
