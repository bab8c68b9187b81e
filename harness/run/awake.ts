import { orAborted } from "../core/deadline.ts";
import { type Duration, formatDuration } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import type { LeaseState, NodeState } from "../tools/kube-state.ts";
import type { Access } from "./access.ts";

/** What a cluster's nodes last said, for whoever waits for them. */
interface Life {
  nodes: readonly NodeState[];
  leases: readonly LeaseState[];
  away: string;
}

/** What is still wanted until every planned node is Ready and has given a sign of life since `since`; undefined when nothing is. Pure. */
export function stillAsleep(
  names: readonly string[],
  { nodes, leases, away }: Life,
  since: number,
): string | undefined {
  if (nodes.length === 0) return away === "" ? "the API has not answered" : away;
  const wanted = names.flatMap((name) => {
    const node = nodes.find((each) => each.name === name);
    const renewedAt = leases.find((lease) => lease.node === name)?.renewedAt ?? 0;
    if (node?.ready !== true) return [`${name} is not Ready: ${node?.why ?? "it is not known"}`];
    return renewedAt >= since ? [] : [`${name} has not renewed its lease`];
  });
  return wanted.length === 0 ? undefined : wanted.join("; ");
}

export interface AwakeOptions {
  /** Milliseconds since 1970: signs of life before it do not count. */
  readonly since: number;
  readonly deadline: Duration;
  readonly signal: AbortSignal;
  /** Told once for each node that has given a sign of life, and when the API has answered. */
  readonly onMark?: (what: string) => void;
}

/**
 * Waits, by watches, until the API answers with every planned node Ready and its lease renewed since the given moment. That the API
 * is reached at all proves its certificate and ours valid now, by both clocks; that a kubelet renews proves its own.
 * Throws a `deadline` error with what was last seen.
 */
export async function awaitAwake(access: Access, options: AwakeOptions): Promise<void> {
  const { since, deadline, signal, onMark = () => {} } = options;
  const names = access.plan.nodes.map(({ name }) => name);
  const life: Life = { nodes: [], leases: [], away: "" };
  const told = new Set<string>();
  const mark = (what: string) => {
    if (!told.has(what)) onMark(what);
    told.add(what);
  };
  const stop = new AbortController();
  const time = AbortSignal.timeout(deadline);
  const either = AbortSignal.any([signal, stop.signal, time]);
  const { promise, resolve } = Promise.withResolvers<void>();
  const look = () => {
    if (life.nodes.length > 0) mark("the API answers");
    for (const { node, renewedAt } of life.leases) if (renewedAt >= since) mark(`${node} has renewed its lease`);
    if (stillAsleep(names, life, since) === undefined) resolve();
  };
  const kube = access.kube();
  const watch = { signal: either, away: deadline, onAway: (why: string) => void (life.away = why) };
  const watching = [
    kube.watchNodes((nodes) => ((life.nodes = nodes), look()), watch),
    kube.watchLeases((leases) => ((life.leases = leases), look()), watch),
  ];
  try {
    await orAborted(either, Promise.race([promise, ...watching]));
  } catch (error) {
    signal.throwIfAborted();
    if (!time.aborted) throw error;
    const last = stillAsleep(names, life, since) ?? "nothing";
    throw new KpiError("deadline", "the cluster did not become Ready", {
      details: [`waited ${formatDuration(deadline)}; last saw: ${last}`],
    });
  } finally {
    stop.abort();
    for (const each of watching) each.catch(() => {}); // they end by our own abort
  }
}
