import { existsSync } from "node:fs";
import { KpiError } from "../core/errors.ts";
import type { OnProgress } from "../core/event.ts";
import { type KpiPaths, kpiPaths } from "../core/paths.ts";
import type { Plan } from "../core/plan.ts";
import { checkLabDir } from "../lab/layout.ts";
import { tryLock } from "../tools/owner.ts";
import { type Access, openAccess } from "./access.ts";
import { checkpointKey, currentInputs, inputChanges, justReady } from "./checkpoint-key.ts";
import { makeCheckpoint } from "./checkpoint.ts";
import { listCheckpoints, type StoredCheckpoint } from "./checkpoint-store.ts";
import { checkClusterName, ClusterDir } from "./cluster.ts";
import { unmakeCluster } from "./down.ts";
import { type Mark, forkCheckpoint, unusable } from "./fork.ts";
import { holdCluster } from "./hold.ts";
import type { Declared } from "./journal.ts";

export interface ForkRequest {
  /** Name of the new lab; the cluster's with a number that is free unless said otherwise. */
  readonly as?: string;
  readonly signal?: AbortSignal;
  /** When it began, by performance.now(), if not now. */
  readonly began?: number;
  /** Told what the fork has come to, as it comes. */
  readonly onMark?: (mark: Mark) => void;
}

export interface SaveRequest {
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
}

const never = new AbortController().signal;

/** A cluster that was frozen when it was Ready. */
export class Checkpoint {
  constructor(
    readonly stored: StoredCheckpoint,
    private readonly paths: KpiPaths,
  ) {}

  get id(): string {
    return this.stored.manifest.id;
  }

  get plan(): Plan {
    return this.stored.manifest.plan;
  }

  /** What has changed since it was made, so that it may not be used; undefined when nothing has. Its files are read when it is used. */
  async unfit(plan: Plan = this.plan, signal: AbortSignal = never): Promise<string | undefined> {
    const { inputs } = this.stored.manifest;
    const changes = inputChanges(inputs, await currentInputs(plan, inputs["moment"] ?? justReady, this.paths, signal));
    return changes.length === 0 ? undefined : changes.join("; ");
  }

  /** Goes on from here in a lab of its own. Throws when the checkpoint may not be used, or the fork does not become Ready. */
  async fork({ as, signal = never, began = performance.now(), onMark }: ForkRequest = {}): Promise<RunningCluster> {
    const { stored, paths } = this;
    if (as !== undefined) checkClusterName(as, "--as");
    using held = as === undefined ? holdFree(paths.state, this.plan.cluster) : hold(new ClusterDir(paths.state, as));
    const { cluster } = held;
    const unfit = this.unfit(this.plan, signal);
    unfit.catch(() => {}); // it is looked at later, unless the fork fails before
    try {
      const { access, marks, intent } = await forkCheckpoint({
        ...{ checkpoint: stored, paths, cluster, unfit, signal, began },
        ...(onMark === undefined ? {} : { onMark }),
      });
      return new RunningCluster(access, paths, { checkpoint: this, intent, marks });
    } finally {
      await unfit.catch(() => {}); // programs that it has started end before this does
    }
  }
}

/** The newest checkpoint of a cluster, or the one of that id; `onBad` hears of those that cannot be believed. Throws a `host` error when there is none. */
export function openCheckpoint(
  cluster: string,
  paths: KpiPaths = kpiPaths(),
  onBad: (why: string) => void = () => {},
): Checkpoint {
  const bad: string[] = [];
  const all = listCheckpoints(paths.cache, (why) => {
    bad.push(why);
    onBad(why);
  });
  const found = all.find(({ manifest }) => manifest.cluster === cluster || manifest.id === cluster);
  if (found !== undefined) return new Checkpoint(found, paths);
  throw new KpiError("host", `there is no checkpoint of cluster ${cluster}`, {
    details: bad,
    hint: "make one of the running cluster with: kpi checkpoint",
  });
}

/** The newest checkpoint that a plan may go on from as things are now, or why there is none. */
export async function fittingCheckpoint(
  plan: Plan,
  paths: KpiPaths,
  signal: AbortSignal,
): Promise<Checkpoint | { readonly why: string }> {
  const bad: string[] = [];
  const all = listCheckpoints(paths.cache, (why) => bad.push(why));
  const inputs = await currentInputs(plan, justReady, paths, signal);
  const fit = all.find(({ manifest }) => manifest.key === checkpointKey(inputs));
  if (fit !== undefined) return new Checkpoint(fit, paths);
  const near = all.find(({ manifest }) => manifest.cluster === plan.cluster);
  if (near === undefined) return { why: bad[0] ?? `there is no checkpoint of cluster ${plan.cluster}` };
  return { why: unusable(near, inputChanges(near.manifest.inputs, inputs).join("; ")).what };
}

/**
 * A cluster that runs, and the ways into it. One that was forked in code is removed when it is disposed of, or by the next
 * command when its process has died; one that was opened stays.
 */
export class RunningCluster implements AsyncDisposable {
  /** What it went on from, for a fork. */
  readonly checkpoint: Checkpoint | undefined;
  /** Where a fork's time went. */
  readonly marks: readonly Mark[];
  /** Of a fork that goes with this process; undefined for one that stays. */
  private intent: Declared | undefined;

  constructor(
    readonly access: Access,
    private readonly paths: KpiPaths,
    origin: { readonly checkpoint?: Checkpoint; readonly intent?: Declared; readonly marks?: readonly Mark[] },
  ) {
    this.checkpoint = origin.checkpoint;
    this.marks = origin.marks ?? [];
    this.intent = origin.intent;
  }

  /** Of its lab and directory; a fork's plan names the original's cluster. */
  get name(): string {
    return this.access.cluster.name;
  }

  get plan(): Plan {
    return this.access.plan;
  }

  /** Freezes it as it is now. It stands still for some seconds. */
  async save({ signal = never, onProgress = () => {} }: SaveRequest = {}): Promise<Checkpoint> {
    const { access, paths } = this;
    using _lock = holdCluster(access.cluster);
    const state = access.cluster.read();
    if (state?.phase !== "ready")
      throw new KpiError("host", `cluster ${this.name} is not Ready`, { got: state?.phase ?? "unknown" });
    const moment = `as ${this.name} was at ${new Date().toISOString()}`; // other than when it had just become Ready
    return new Checkpoint(await makeCheckpoint({ access, state, paths, moment, signal, onProgress }), paths);
  }

  /** Another one like it was when it was frozen: from the checkpoint it went on from, or the newest of its cluster. */
  fork(request: ForkRequest = {}): Promise<RunningCluster> {
    return (this.checkpoint ?? openCheckpoint(this.plan.cluster, this.paths)).fork(request);
  }

  /** Leaves it running when it is disposed of. */
  keep(): this {
    this.intent?.settle();
    this.intent = undefined;
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.intent === undefined) return;
    await unmakeCluster(this.access.cluster, this.plan.host);
    this.intent.settle();
    this.intent = undefined;
  }
}

/** Opens a cluster or fork that runs already. */
export async function openCluster(name: string, paths: KpiPaths = kpiPaths()): Promise<RunningCluster> {
  const { access, state } = await openAccess(new ClusterDir(paths.state, name));
  const stored = listCheckpoints(paths.cache).find(({ manifest }) => manifest.id === state.origin?.checkpoint);
  const checkpoint = stored === undefined ? {} : { checkpoint: new Checkpoint(stored, paths) };
  return new RunningCluster(access, paths, checkpoint);
}

interface Held extends Disposable {
  readonly cluster: ClusterDir;
}

function hold(cluster: ClusterDir): Held {
  checkLabDir(cluster.labDir);
  const lock = holdCluster(cluster);
  return { cluster, [Symbol.dispose]: () => lock[Symbol.dispose]() };
}

/** `NAME-f1`, or the first number that nobody has and nobody is about to take. */
function holdFree(state: string, name: string): Held {
  for (let number = 1; ; number += 1) {
    const cluster = new ClusterDir(state, `${name}-f${number}`);
    checkLabDir(cluster.labDir);
    if (cluster.exists() || existsSync(cluster.labDir)) continue;
    const lock = tryLock(cluster.lockPath);
    if ("heldBy" in lock) continue;
    if (!cluster.exists()) return { cluster, [Symbol.dispose]: () => lock.release() };
    lock.release(); // made and let go between the look and the lock
  }
}
