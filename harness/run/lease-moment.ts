import { notYet, orAborted, until } from "../core/deadline.ts";
import { milliseconds, seconds } from "../core/duration.ts";
import type { Machines } from "../tools/libvirt-machine.ts";
import type { Access } from "./access.ts";

/** A kubelet renews its lease this long after it has finished the last time, plus up to 4 %: milliseconds (kubelet: 0.25 of 40 s). */
export const renewal = 10_000;
/**
 * How long before the next renewal a node is paused: what it needs after a restore until its clock is set and it shows that it lives.
 * The watch tells of a renewal some tenths of a second late, and with a clock that is not set yet a renewal would not count.
 */
const margin = 1_000;

/** When a node is to be paused: milliseconds of whatever clock the input has. */
export interface Moment {
  readonly node: string;
  readonly at: number;
}

/**
 * When to pause each node so that all of them are just about to renew, in the order in which it happens, and with the least
 * time from first to last: a node that stands still is missed by the others. Takes when each was last seen to renew. Pure.
 */
export function pauseMoments(seen: ReadonlyMap<string, number>, now: number): Moment[] {
  const next = (at: number) => {
    const due = at + renewal - margin;
    return due > now ? due : due + Math.ceil((now - due) / renewal + 1e-9) * renewal;
  };
  const moments = [...seen].map(([node, at]) => ({ node, at: next(at) })).sort((a, b) => a.at - b.at);
  const rotations = moments.map((_, first) => [
    ...moments.slice(first),
    ...moments.slice(0, first).map(({ node, at }) => ({ node, at: at + renewal })),
  ]);
  const span = (order: readonly Moment[]) => (order.at(-1)?.at ?? 0) - (order[0]?.at ?? 0);
  return rotations.reduce((best, order) => (span(order) < span(best) ? order : best), moments);
}

/**
 * Pauses every node just before it would renew its lease, within one period, so that whoever goes on from here has
 * fresh leases from all of them at once. Watches the renewals of a period first.
 */
export async function pauseBeforeRenewal(access: Access, machines: Machines, signal: AbortSignal): Promise<void> {
  const stop = new AbortController();
  const either = AbortSignal.any([signal, stop.signal]);
  const names = access.plan.nodes.map(({ name }) => name);
  const renewals = new Map<string, number>(); // by the node's clock: tells one renewal from the next
  const seen = new Map<string, number>(); // by ours
  const watching = access.kube().watchLeases(
    (leases) => {
      for (const { node, renewedAt } of leases) {
        if (renewals.has(node) && renewals.get(node) !== renewedAt) seen.set(node, performance.now());
        renewals.set(node, renewedAt);
      }
    },
    { signal: either },
  );
  const paused: string[] = [];
  const all = until(
    "the nodes do not renew their leases",
    seconds(60),
    async () => {
      const missing = names.filter((name) => !seen.has(name));
      if (missing.length > 0) notYet(`nothing of ${missing.join(", ")}`);
      const left = new Map([...seen].filter(([name]) => names.includes(name) && !paused.includes(name)));
      if (left.size === 0) return;
      const [first] = pauseMoments(left, performance.now() - 2 * step);
      if (first !== undefined && first.at <= performance.now()) {
        paused.push(first.node);
        await machines.pause(first.node);
      }
      notYet(`${paused.length} of ${names.length} are paused`);
    },
    { every: milliseconds(step), signal },
  );
  try {
    await orAborted(signal, Promise.race([all, watching]));
  } finally {
    stop.abort();
    watching.catch(() => {}); // it ends by our own abort
    all.catch(() => {});
  }
}

/** Milliseconds between looks at the clock. */
const step = 20;
