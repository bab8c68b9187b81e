import { type Duration, formatDuration, milliseconds, minutes, seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import {
  type ClusterShape,
  faultKinds,
  type FaultKind,
  faultNodes,
  type FaultSpec,
  faultWords,
  k3sUnit,
} from "../core/fault-spec.ts";

/** One fault of a schedule: when it begins, counted from the start, and how long it stays. */
export interface Scheduled {
  readonly at: Duration;
  readonly fault: FaultSpec;
  readonly for: Duration;
}

/** The largest seed: they are 32-bit numbers. */
export const largestSeed = 2 ** 32 - 1;

/** The gap between two beginnings, and a fault's length, in milliseconds: uniform between these. */
const gap = [2_000, 20_000] as const;
const length = [5_000, 40_000] as const;
/** What a node needs after a fault before the next one is interesting: booting is slow where it is emulated. */
const rest = seconds(10);

/**
 * A random schedule of faults for a cluster, all of them over when `total` is. Pure: the same seed, shape, time and kinds
 * give the same list for ever. At most one fault at a time is about any one node (a node that is off can neither be
 * frozen nor be asked), and no two of the network as a whole; different nodes break at the same time.
 */
export function randomSchedule(
  seed: number,
  shape: ClusterShape,
  total: Duration,
  kinds: readonly FaultKind[] = faultKinds,
): Scheduled[] {
  if (!Number.isInteger(seed) || seed < 0 || seed > largestSeed)
    throw new KpiError("spec", `seed: ${seed} is none`, { expected: `a whole number from 0 to ${largestSeed}` });
  if (total < minimum)
    throw new KpiError("spec", `a random schedule of ${formatDuration(total)} is too short`, {
      expected: `at least ${formatDuration(minimum)}`,
    });
  const random = mulberry32(seed);
  const between = (from: number, to: number) => from + Math.floor(random() * (to - from + 1));
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)] as T;
  const possible = kinds.filter((kind) => kind !== "partition" || shape.nodes.length > 1);
  const freeAt = new Map<string, number>();
  const schedule: Scheduled[] = [];
  for (let at = between(0, 3_000); at + length[0] <= total; at += between(...gap)) {
    // Every draw is made whether or not its fault fits, so that one choice does not depend on another's place.
    const fault = draw(pick(possible), shape, { between, pick });
    const stays = Math.min(between(...length), total - at);
    const about = faultNodes(fault).length === 0 ? [fault.kind] : faultNodes(fault);
    if (about.some((name) => (freeAt.get(name) ?? 0) > at)) continue;
    for (const name of about) freeAt.set(name, at + stays + rest);
    schedule.push({ at: milliseconds(at), fault, for: milliseconds(stays) });
  }
  return schedule;
}

const minimum = milliseconds(length[0] + 3_000);

interface Draws {
  between(from: number, to: number): number;
  pick<T>(list: readonly T[]): T;
}

function draw(kind: FaultKind, { nodes }: ClusterShape, { between, pick }: Draws): FaultSpec {
  const { name: node, role } = pick(nodes);
  switch (kind) {
    case "partition":
      return { kind, nodes: [node, pick(nodes.map(({ name }) => name).filter((name) => name !== node))] };
    case "delay":
      return { kind, node, by: milliseconds(between(20, 500)), jitter: milliseconds(between(0, 20)) };
    case "loss":
      return { kind, node, percent: between(5, 40) };
    case "dns-down":
      return { kind };
    case "fill-disk":
      return { kind, node, path: "/" };
    case "set-clock":
      return { kind, node, offset: pick([-1, 1]) * between(minutes(1), minutes(60)) };
    case "kill-unit":
      return { kind, node, unit: k3sUnit(role) };
    default:
      return { kind, node };
  }
}

/** The schedule as text, one line a fault: when, how long, and the words of `kpi fault`. */
export function renderSchedule(schedule: readonly Scheduled[]): string {
  return schedule
    .map(
      (one) =>
        `${formatDuration(one.at).padStart(6)}  for ${formatDuration(one.for).padEnd(6)}  ${faultWords(one.fault).join(" ")}`,
    )
    .join("\n");
}

/** A generator of numbers from 0 (inclusive) to 1, of 32 bits of state: mulberry32 by Tommy Ettinger (public domain, 2017). */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
