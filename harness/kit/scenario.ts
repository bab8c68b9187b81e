import { readFile } from "node:fs/promises";
import { minutes } from "../core/duration.ts";
import { renderError } from "../core/errors.ts";
import type { Kube } from "../tools/kube.ts";
import { nodeFaults, type NodeFaults } from "../run/node-fault.ts";
import { networkFaults, type NetworkFaults } from "../run/network-fault.ts";
import { type Checkpoint, openCluster, type RunningCluster } from "../run/running.ts";
import { whyUnhealthy } from "../run/watch.ts";
import { kpiPaths } from "../core/paths.ts";
import { changes, type Fingerprint, lasting, takeFingerprint } from "./guard.ts";
import { collect } from "./evidence.ts";
import { lookAtFork } from "./fork-look.ts";
import type { NodeHandle } from "./node.ts";
import type { SeenAt } from "./observers.ts";
import { tell } from "./progress.ts";
import { noteWork } from "./results.ts";
import { Session } from "./session.ts";
import type { SharedCluster } from "./shared-cluster.ts";
import { fittingWithin } from "./shared-run.ts";

/** What a destructive scenario works with: a cluster of its own, forked from the shared one. */
export interface ForkedCluster {
  readonly kube: Kube;
  readonly network: NetworkFaults;
  readonly running: RunningCluster;
  node(name: string): NodeHandle;
  faults(name: string): NodeFaults;
  /** All that a node's serial console has shown, boots before included. */
  console(name: string): Promise<string>;
  /** What is to be seen of it now, by the looks that claims judge; anew at each call. */
  look<At extends keyof SeenAt>(stages: readonly At[]): Promise<Pick<SeenAt, At>>;
}

/** One that somebody holds. Disposing removes it. */
export type OpenFork = ForkedCluster & AsyncDisposable;

/** How many forks run at once: each is a whole cluster, and most of a scenario is waiting for Kubernetes' own patience. */
const sideBySide = 2;
let active = 0;

/** A fork that runs in a turn. Disposing removes it and ends the turn. */
interface Held extends AsyncDisposable {
  readonly running: RunningCluster;
}

/** One that is handed on, and what must last of how it was when it was new. */
interface Used {
  readonly held: Held;
  readonly was: Fingerprint;
}

/** Whoever waits for a turn. Begins with the fork that is handed on, or with none. */
interface Waiting {
  /** Whose forks it can go on with. */
  readonly from: SharedCluster | undefined;
  begin(handed: Used | undefined): void;
}
const queue: Waiting[] = [];
const isAwaited = (shared: SharedCluster) => queue.some(({ from }) => from === shared);

/** Waits for a turn, which goes on until it is ended or handed on with a fork. Gives the fork that it was handed on with. */
async function turn(from?: SharedCluster): Promise<Used | undefined> {
  if (active >= sideBySide) return new Promise((begin) => queue.push({ from, begin }));
  active += 1;
  return undefined;
}

/** Takes who goes on with a fork of this cluster out of the queue. */
function nextFor(shared: SharedCluster): Waiting | undefined {
  const at = queue.findIndex(({ from }) => from === shared);
  return at < 0 ? undefined : queue.splice(at, 1)[0];
}

function endTurn(): void {
  const next = queue.shift();
  if (next === undefined) active -= 1;
  else next.begin(undefined);
}

const checkpoints = new Map<SharedCluster, Promise<Checkpoint>>();

/**
 * The checkpoint of the shared cluster: one that fits, and then the cluster itself need not run; or a new one, for which it is
 * made, and stands still for some seconds.
 */
export function checkpointOf(shared: SharedCluster): Promise<Checkpoint> {
  const find = async () => {
    const fitting = async () => {
      const found = await fittingWithin(minutes(2), await shared.plan(), kpiPaths());
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
  await turn();
  await using stack = new AsyncDisposableStack();
  const { running } = stack.use(await hold(checkpoint));
  const cluster = enter(running, stack.use(new Session(running.access, running.plan)), shared.spec);
  const held = stack.move();
  return { ...cluster, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

/** Makes a fork in a turn, which ends with it. */
async function hold(checkpoint: Checkpoint): Promise<Held> {
  await using stack = new AsyncDisposableStack();
  stack.defer(endTurn);
  const { cluster } = checkpoint.stored.manifest;
  const running = stack.use(await noteWork(cluster, "fork", () => checkpoint.fork()));
  const held = stack.move();
  return { running, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

/** The ways into a fork. */
function enter(running: RunningCluster, session: Session, spec: string): ForkedCluster {
  return {
    running,
    kube: running.access.kube(),
    network: networkFaults(running.access),
    node: (name) => session.node(name),
    faults: (name) => {
      const faults = nodeFaults(running.access, name);
      const powerCut = async (signal?: AbortSignal) => {
        const fault = await faults.powerCut(signal);
        await session.drop(name);
        return fault;
      };
      return { ...faults, powerCut };
    },
    console(name) {
      const path = running.access.consolePath(name);
      if (path === undefined) throw new Error("a fork without a lab");
      return readFile(path, "utf8");
    },
    look: (stages) => lookAtFork(running, session, spec, stages),
  };
}

/**
 * Lets the scenario do its worst on a fork of the shared cluster, and removes the fork, whatever came of it. Only one that the scenario
 * has healed, so that it is well and as it was, is handed on to the next that waits: two emulated cores take longer to
 * restore a fork and to get it warm than most scenarios take. `isWrong` tells, of what was found, that a claim on it will fail.
 */
export async function onFork<T>(
  shared: SharedCluster,
  name: string,
  scenario: (cluster: ForkedCluster) => Promise<T>,
  isWrong: (found: T) => Promise<boolean>,
): Promise<T> {
  const checkpoint = await checkpointOf(shared);
  const handed = await turn(shared);
  await using stack = new AsyncDisposableStack();
  const held = stack.use(handed?.held ?? (await hold(checkpoint)));
  const { found, was } = await attempt(shared, held.running, handed?.was, name, scenario, isWrong);
  if (was === undefined) return found;
  const next = nextFor(shared);
  if (next === undefined) return found;
  stack.move();
  next.begin({ held, was });
  return found;
}

/**
 * The scenario, by connections that end with it: a machine that lost its power never tells that it has forgotten them. Gives with what it
 * found what must last of the fork, if it is well and still like that and somebody waits for it.
 */
async function attempt<T>(
  shared: SharedCluster,
  running: RunningCluster,
  known: Fingerprint | undefined,
  name: string,
  scenario: (cluster: ForkedCluster) => Promise<T>,
  isWrong: (found: T) => Promise<boolean>,
): Promise<{ readonly found: T; readonly was: Fingerprint | undefined }> {
  await using session = new Session(running.access, running.plan);
  const note = <R>(what: string, work: () => Promise<R>) => noteWork(running.access.cluster.name, what, work);
  const was = known ?? (isAwaited(shared) ? await note("how it is", () => lastingOf(session)) : undefined);
  const acting = () => session.whileItRuns(() => scenario(enter(running, session, shared.spec)));
  const evidence = () => note("evidence", () => collect(session, name).done); // now: the fork goes, or is used by somebody else
  const found = await note(name, acting).catch(async (error: unknown) => {
    await evidence();
    throw error;
  });
  if (await isWrong(found)) await evidence();
  const goesOn =
    was !== undefined && isAwaited(shared) && (await note("is it as it was", () => isHealed(session, was)));
  return { found, was: goesOn ? was : undefined };
}

/**
 * Whether all nodes are Ready and nothing but the age of machines and processes differs. One that cannot be asked is not. Says why not: a new
 * fork takes longer than most scenarios.
 */
async function isHealed(session: Session, was: Fingerprint): Promise<boolean> {
  const differs = async () => changes(was, await lastingOf(session)).at(0);
  const why = (await whyUnhealthy(session.access)) ?? (await differs().catch(renderError));
  if (why !== undefined) tell(`${session.access.cluster.name}: is not as it was: ${why}`);
  return why === undefined;
}

const lastingOf = async (session: Session): Promise<Fingerprint> => lasting(await takeFingerprint(session));
