/** How to read a guest's clock on the host's: host time = guest time + `ms`, right within `uncertainty` milliseconds. */
export interface ClockOffset {
  readonly ms: number;
  readonly uncertainty: number;
  /** `ssh`: both clocks read around a round trip; `console`: console lines paired with their arrival. */
  readonly how: "ssh" | "console";
}

/** One reading of a guest's clock, and the host's before it was asked and after it had answered. Milliseconds since 1970. */
export interface ClockSample {
  readonly before: number;
  readonly guest: number;
  readonly after: number;
}

/**
 * The offset by several readings. Each says that the guest read its clock between two instants of the host, so the offset lies in
 * [before - guest, after - guest]; what all of them allow is what is known (the intersection of Marzullo's algorithm, as NTP has it).
 * Readings that contradict each other, because a clock was set meanwhile, leave the quickest one. Undefined without a reading.
 */
export function offsetOfSamples(samples: readonly ClockSample[]): ClockOffset | undefined {
  const quickest = samples.toSorted((a, b) => a.after - a.before - (b.after - b.before))[0];
  if (quickest === undefined) return undefined;
  const from = Math.max(...samples.map(({ before, guest }) => before - guest));
  const to = Math.min(...samples.map(({ after, guest }) => after - guest));
  const [low, high] = from <= to ? [from, to] : [quickest.before - quickest.guest, quickest.after - quickest.guest];
  return { ms: (low + high) / 2, uncertainty: (high - low) / 2, how: "ssh" };
}

/** Console files are read at file events, and once a second for events that the kernel lost. */
const consoleDelay = 1_000;

/** The offset by lines that a guest stamped and the host saw arrive, both in milliseconds since 1970: they can only come late. Undefined without one. */
export function offsetOfArrivals(
  lines: readonly { readonly guest: number; readonly arrived: number }[],
): ClockOffset | undefined {
  if (lines.length === 0) return undefined;
  const latest = Math.min(...lines.map(({ guest, arrived }) => arrived - guest));
  return { ms: latest - consoleDelay / 2, uncertainty: consoleDelay / 2, how: "console" };
}

/** Whether the two can be about one clock that was never set; the second one is allowed to be drawn out by a slow console. */
export const agree = (a: ClockOffset, b: ClockOffset): boolean =>
  Math.abs(a.ms - b.ms) <= a.uncertainty + b.uncertainty;
