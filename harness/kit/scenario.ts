import { minutes } from "../core/duration.ts";
import type { Kube } from "../tools/kube.ts";
import { nodeFaults, type NodeFaults } from "../run/node-fault.ts";
import { networkFaults, type NetworkFaults } from "../run/network-fault.ts";
import { type Checkpoint, fittingCheckpoint, openCluster, type RunningCluster } from "../run/running.ts";
import { kpiPaths } from "../core/paths.ts";
import { lookAtFork } from "./fork-look.ts";
import type { NodeHandle } from "./node.ts";
import type { SeenAt } from "./observers.ts";
import { Session } from "./session.ts";
import type { SharedCluster } from "./shared-cluster.ts";

/** What a destructive scenario works with: a cluster of its own, forked from the shared one, that goes when it is over. */
export interface ForkedCluster {
  readonly kube: Kube;
  readonly network: NetworkFaults;
  readonly running: RunningCluster;
  node(name: string): NodeHandle;
  faults(name: string): NodeFaults;
  /** What is to be seen of it now, by the looks that claims judge; anew at each call. */
  look<At extends keyof SeenAt>(stages: readonly At[]): Promise<Pick<SeenAt, At>>;
}

/** One that somebody holds. Disposing removes it. */
export type OpenFork = ForkedCluster & AsyncDisposable;

/** How many forks run at once: each is a whole cluster, and most of a scenario is waiting for Kubernetes' own patience. */
const sideBySide = 2;
let active = 0;
const queue: (() => void)[] = [];

async function turn(): Promise<Disposable> {
  if (active >= sideBySide) await new Promise<void>((resolve) => queue.push(resolve));
  active += 1;
  const end = () => {
    active -= 1;
    queue.shift()?.();
  };
  return { [Symbol.dispose]: end };
}

const checkpoints = new Map<SharedCluster, Promise<Checkpoint>>();

/**
 * The checkpoint of the shared cluster: one that fits, and then the cluster itself need not run; or a new one, for which it is
 * made, and stands still for some seconds.
 */
export function checkpointOf(shared: SharedCluster): Promise<Checkpoint> {
  const find = async () => {
    const fitting = async () => {
      const found = await fittingCheckpoint(await shared.plan(), kpiPaths(), AbortSignal.timeout(minutes(2)));
      return "why" in found ? undefined : found;
    };
    const known = await fitting();
    if (known !== undefined) return known;
    const run = await shared.run();
    await run.stage("ready");
    return (await fitting()) ?? (await openCluster(run.cluster.name)).save(); // making it has left one, if there was room
  };
  const known = checkpoints.get(shared) ?? find();
  checkpoints.set(shared, known);
  return known;
}

/** A fork of the shared cluster that goes when it is disposed of. */
export async function openFork(shared: SharedCluster): Promise<OpenFork> {
  const checkpoint = await checkpointOf(shared);
  await using stack = new AsyncDisposableStack();
  stack.use(await turn());
  const running = stack.use(await checkpoint.fork());
  const session = stack.use(new Session(running.access, running.plan));
  const held = stack.move();
  return {
    running,
    kube: running.access.kube(),
    network: networkFaults(running.access),
    node: (name) => session.node(name),
    faults: (name) => nodeFaults(running.access, name),
    look: (stages) => lookAtFork(running, session, shared.spec, stages),
    [Symbol.asyncDispose]: () => held.disposeAsync(),
  };
}

/** Forks the shared cluster, lets the scenario do its worst, and removes the fork, whatever came of it. */
export async function onFork<T>(shared: SharedCluster, scenario: (cluster: ForkedCluster) => Promise<T>): Promise<T> {
  await using fork = await openFork(shared);
  return await scenario(fork);
}
