import { notYet, orAborted, until } from "../core/deadline.ts";
import { milliseconds, seconds } from "../core/duration.ts";
import { GuestAgent } from "../tools/guest-agent.ts";
import type { Machines } from "../tools/libvirt-machine.ts";
import type { Access } from "./access.ts";

/** A kubelet renews its lease this long after it has finished the last time, plus up to 4 %: milliseconds (kubelet: 0.25 of 40 s). */
export const renewal = 10_000;
/**
 * How long before the next renewal a node is paused: what it needs after a restore until its clock is set and it shows that it lives.
 * The watch tells of a renewal some tenths of a second late, and with a clock that is not set yet a renewal would not count.
 */
const margin = 1_000;

/**
 * When a node renewed last, of its lease and how far its clock is ahead of ours, which `wall` reads; milliseconds since 1970 by ours.
 * Undefined when that is not within a period: its clock has been set since, or it is late, and will be seen. Pure.
 */
export function lastRenewal(renewedAt: number, ahead: number, wall: number): number | undefined {
  const at = renewedAt - ahead;
  return at <= wall && wall - at < renewal ? at : undefined;
}

/** When a node that renewed at `at` is to be paused, from `now` on. Pure. */
export function pauseMoment(at: number, now: number): number {
  const due = at + renewal - margin;
  return due > now ? due : due + Math.ceil((now - due) / renewal + 1e-9) * renewal;
}

/**
 * The node to begin with so that there is the least time from the first that is paused to the last: a node that stands still is
 * missed by the others. Takes when each was last seen to renew; undefined of nobody. Pure.
 */
export function firstToPause(seen: ReadonlyMap<string, number>, now: number): string | undefined {
  const moments = [...seen].map(([node, at]) => ({ node, at: pauseMoment(at, now) })).sort((a, b) => a.at - b.at);
  // Beginning with one, the last is the one before it, a period later for those that were earlier.
  const spans = moments.map(({ node, at }, index) => {
    const last = index === 0 ? moments.at(-1)?.at : (moments[index - 1]?.at ?? 0) + renewal;
    return { node, span: (last ?? at) - at };
  });
  return spans.sort((a, b) => a.span - b.span)[0]?.node;
}

/**
 * Picks which node is to be paused now, if one is, of those that still run and when they were last seen to renew. The first is chosen
 * once: a renewal always comes somewhat later than foreseen, so among nodes that renew at equal distances whoever is next would
 * never be the best one to begin with. Pure but for that memory.
 */
export function pauseInTurn(): (running: ReadonlyMap<string, number>, now: number) => string | undefined {
  let first: string | undefined;
  return (running, now) => {
    first ??= firstToPause(running, now);
    const began = first !== undefined && !running.has(first);
    return [...running].find(([node, at]) => (began || node === first) && pauseMoment(at, now - 2 * step) <= now)?.[0];
  };
}

/**
 * Pauses every node just before it would renew its lease, within one period, so that whoever goes on from here has fresh leases
 * from all of them at once. When each renewed last says its lease, read by the node's clock, or its next renewal.
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
  const ahead = new Map<string, number>();
  const asking = names.map(async (name) =>
    ahead.set(name, await new GuestAgent(access.libvirt, name).clockOffset(either)),
  );
  for (const each of asking) each.catch(() => {}); // who has no answer is seen to renew
  const paused: string[] = [];
  const turn = pauseInTurn();
  const all = until(
    "the nodes do not renew their leases",
    seconds(60),
    async () => {
      const wall = Date.now();
      for (const name of names) {
        const [offset, renewedAt] = [ahead.get(name), renewals.get(name)];
        if (seen.has(name) || offset === undefined || renewedAt === undefined) continue;
        const at = lastRenewal(renewedAt, offset, wall);
        if (at !== undefined) seen.set(name, performance.now() - (wall - at));
      }
      const missing = names.filter((name) => !seen.has(name));
      if (missing.length > 0) notYet(`nothing of ${missing.join(", ")}`);
      const left = new Map([...seen].filter(([name]) => names.includes(name) && !paused.includes(name)));
      if (left.size === 0) return;
      const due = turn(left, performance.now());
      if (due !== undefined) {
        paused.push(due);
        await machines.pause(due);
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
