import { join } from "node:path";
import { until } from "../core/deadline.ts";
import { minutes } from "../core/duration.ts";
import type { StageName } from "../core/event.ts";
import type { Plan } from "../core/plan.ts";
import { kpiPaths, projectRoot } from "../core/paths.ts";
import { chooseSpec } from "../run/choice.ts";
import { run as runProgram } from "../tools/exec.ts";
import { writeWhole } from "../tools/whole-file.ts";
import { type NodeHandle, nodeHandle } from "./node.ts";
import type { NodeLooks } from "./node-looks.ts";
import { strangers } from "./access-seen.ts";
import { collect, Evidence } from "./evidence.ts";
import type { CallSite } from "./call-site.ts";
import { type Look, nodesFor, observers, recordedSeen, type SeenAt } from "./observers.ts";
import { type Fingerprint, takeFingerprint } from "./guard.ts";
import { Session } from "./session.ts";
import { startWorkload, type Workload } from "./workload.ts";
import { looksAhead } from "./look-ahead.ts";
import { fileName, noteWork } from "./results.ts";
import { joinRun, type SharedRun } from "./shared-run.ts";

/** Hang guard of one look; the program's own deadlines are shorter. */
const lookLimit = minutes(5);

/** One spec's cluster in this process: its run, and everything that was seen of it, once. */
export class SharedCluster {
  #plan: Promise<Plan> | undefined;
  #run: Promise<SharedRun> | undefined;
  #session: Promise<Session> | undefined;
  readonly #seen = new Map<keyof SeenAt, Promise<unknown>>();
  readonly #nodes = new Map<string, NodeLooks>();

  #workload: Promise<Workload> | undefined;
  #fingerprint: Promise<Fingerprint> | undefined;
  /** Looks that this run of bun test is going to take. */
  #ahead: readonly (keyof SeenAt)[] = [];
  #begun: Promise<unknown> | undefined;
  #giving: Promise<void> | undefined;
  readonly #once = new Map<string, Promise<unknown>>();
  /** Looks under way, or to come, that need the pods. */
  readonly #needPods = new Set<keyof SeenAt>();
  #tidied: Promise<unknown> = Promise.resolve();
  /** Whether a claim has done something on a node or by the API since the guard last asked. */
  acted = false;
  /** Where the files use it that ran since. */
  readonly unguarded: CallSite[] = [];
  /** After a claim on it has failed. */
  readonly evidence = new Evidence(async () => {
    if (this.#run === undefined) return undefined;
    const session = await this.session();
    return session.access.gone ? undefined : collect(session, session.plan.cluster);
  });

  constructor(readonly spec: string) {}

  /** Joined or started when the first claim on it asks; claims on forks alone need none. */
  run(): Promise<SharedRun> {
    this.#run ??= this.plan().then((plan) => joinRun(this.spec, plan));
    return this.#run;
  }

  /** What follows from the spec; nothing is made for it. */
  plan(): Promise<Plan> {
    this.#plan ??= chooseSpec(join(projectRoot, this.spec), { kind: "lab" }, kpiPaths()).then(({ plan }) => plan);
    return this.#plan;
  }

  async session(): Promise<Session> {
    this.#session ??= this.run().then(async (run) => {
      // Of a cluster that is still being made this would tell how its doors were, not how they are.
      const knocks = run.over && this.#ahead.includes("access");
      return new Session(await run.access(), run.plan, knocks ? strangers(run.plan) : undefined);
    });
    return this.#session;
  }

  /** A node, to do something on it. The cluster need not run before something is done: most claims only judge what was seen. */
  async node(name: string): Promise<NodeHandle> {
    const { nodes, cluster } = await this.plan();
    const planned = nodes.find((node) => node.name === name);
    if (planned === undefined) throw new Error(`no node ${name}`);
    return nodeHandle(planned, cluster, async () => {
      this.acted = true;
      return (await this.session()).connect(planned);
    });
  }

  /**
   * What is to be seen at a stage, as soon as the stage has passed; everybody who asks shares one look. The first who asks sets all
   * looks going that this run of bun test is going to ask for.
   */
  seen<At extends keyof SeenAt>(at: At): Promise<SeenAt[At]> {
    const first = this.#seen.size === 0;
    if (first) this.#ahead = looksAhead(this.spec, Object.keys(observers)) as (keyof SeenAt)[];
    const seen = this.#see(at);
    if (first) for (const later of this.#ahead) this.#see(later).catch(() => {}); // its claims hear it
    return seen;
  }

  /** What looks that are to come want set going, once. */
  #begin(look: Look): Promise<unknown> {
    this.#begun ??= Promise.allSettled(this.#ahead.map((at) => observers[at].begin?.(look))); // whoever needs it hears it
    return this.#begun;
  }

  #see<At extends keyof SeenAt>(at: At): Promise<SeenAt[At]> {
    const known = this.#seen.get(at) as Promise<SeenAt[At]> | undefined;
    if (known !== undefined) return known;
    if (observers[at].begin !== undefined) this.#needPods.add(at);
    const look = this.#look(at).finally(() => this.#needsNoMore(at));
    this.#seen.set(at, look);
    return look;
  }

  /** Something that is done once in this process however many claims judge what came of it; kept for `kpi teeth` like a look. */
  once<T>(name: string, work: () => Promise<T>): Promise<T> {
    const doing = (this.#once.get(name) as Promise<T> | undefined) ?? this.#record(name, work());
    this.#once.set(name, doing);
    return doing;
  }

  async #record<T>(name: string, work: Promise<T>): Promise<T> {
    const found = await work;
    record(name, found, await this.plan());
    return found;
  }

  /** How the cluster was when it was last asked, and how it is now; nothing before it was Ready for somebody. */
  async fingerprints(): Promise<readonly [Fingerprint | undefined, Fingerprint | undefined]> {
    const before = await this.#fingerprint?.catch(() => undefined);
    if (before === undefined) return [undefined, undefined];
    // A cluster that cannot be asked any more has been changed, too: that is thrown.
    const after = await takeFingerprint(await this.session());
    this.#fingerprint = Promise.resolve(after);
    this.acted = false;
    return [before, after];
  }

  async #look<At extends keyof SeenAt>(at: At): Promise<SeenAt[At]> {
    const { after, observe } = observers[at];
    const run = await this.run();
    await run.stage(after);
    const session = await this.session();
    const nodes = this.#nodesAt(run.over ? "over" : after, session, at);
    const workload = () => (this.#workload ??= startWorkload(session.access));
    const others = async () => {
      const waits = (name: keyof SeenAt) => name !== at && observers[name].begin === undefined;
      await Promise.allSettled([...this.#seen].flatMap(([name, look]) => (waits(name) ? [look] : [])));
    };
    const look: Look = { run, session, nodes, workload, others, spec: this.spec, recorded: recordedSeen(run) };
    if (after === "ready" || run.over) await this.#begin(look); // before anybody logs in: the nodes have their hands full then
    if (run.over) {
      this.#fingerprint ??= takeFingerprint(session, nodes);
      this.#fingerprint.catch(() => {}); // a cluster that cannot be asked fails its claims, not the guard
    }
    const looking = () =>
      session.whileItRuns(() => until(`the look at ${at} did not end`, lookLimit, () => observe(look)));
    const seen = await noteWork(run.plan.cluster, `look at ${at}`, looking);
    record(at, seen, run.plan);
    return seen;
  }

  /**
   * Removes the cluster if it is this process's own; `ahead` is done before. What was seen of it stays, and a claim that needs more gets
   * it back, from its checkpoint where one fits. A run that failed stays as it is: it is not tried again.
   */
  giveWay(ahead: () => Promise<void>): Promise<void> {
    this.#giving ??= this.#removeOwn(ahead).finally(() => (this.#giving = undefined));
    return this.#giving;
  }

  async #removeOwn(ahead: () => Promise<void>): Promise<void> {
    const run = await this.#run?.catch(() => undefined);
    if (run === undefined || !(await run.isOurs())) return;
    await Promise.allSettled(this.#seen.values());
    await this.tidy().catch(() => {}); // told at the end; what is left goes with the cluster
    await ahead();
    if (!(await run.isOurs())) return;
    await (await this.#session?.catch(() => undefined))?.[Symbol.asyncDispose]();
    await runProgram(join(projectRoot, "kpi"), ["down", run.cluster.name]);
    this.#run = this.#session = this.#workload = this.#fingerprint = this.#begun = undefined;
    this.#nodes.clear();
  }

  /** All that is going to be looked at is known, unless claims are picked by name: then a claim of the same file may need the pods, too. */
  #needsNoMore(at: keyof SeenAt): void {
    this.#needPods.delete(at);
    if (this.#ahead.includes(at)) void this.tidy();
  }

  /** Removes what looks have made in the cluster, once no look needs it. A later look makes its own anew. */
  tidy(): Promise<unknown> {
    const workload = this.#workload;
    if (workload === undefined || this.#needPods.size > 0) return this.#tidied;
    this.#workload = undefined;
    const removed = workload.then(
      (made) => made[Symbol.asyncDispose](),
      () => {}, // its looks hear it
    );
    this.#tidied = Promise.all([this.#tidied, removed]);
    this.#tidied.catch(() => {}); // whoever waits for it hears it
    return this.#tidied;
  }

  /** A cluster that is being made is looked at once a stage, and once when it is Ready. */
  #nodesAt(when: StageName | "over", session: Session, first: keyof SeenAt): NodeLooks {
    const ahead = this.#ahead.filter((at) => when === "over" || observers[at].after === when);
    const looks = this.#nodes.get(when) ?? nodesFor(session, [first, ...ahead], when === "over");
    this.#nodes.set(when, looks);
    return looks;
  }
}

/** For `kpi teeth`: keeps what was seen as a fixture, in the directory that KPI_RECORD names. Nothing seen is secret. */
function record(at: string, seen: unknown, plan: Plan): void {
  const dir = process.env["KPI_RECORD"];
  if (dir === undefined || dir === "") return;
  for (const [name, value] of Object.entries({ [at]: seen, plan })) {
    writeWhole(join(dir, `${fileName(name)}.json`), `${JSON.stringify(value, null, 1)}\n`, 0o644);
  }
}

const clusters = new Map<string, SharedCluster>();

/** The shared cluster of a spec: one in this process, however many files use it. */
export function sharedCluster(spec: string): SharedCluster {
  const found = clusters.get(spec) ?? new SharedCluster(spec);
  clusters.set(spec, found);
  return found;
}

/** Those of this process. */
export const sharedClusters = (): readonly SharedCluster[] => [...clusters.values()];
