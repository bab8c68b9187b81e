import { afterAll } from "bun:test";
import { milliseconds, minutes } from "../core/duration.ts";
import { errorJson, KpiError } from "../core/errors.ts";
import type { Plan } from "../core/plan.ts";
import { holdObjects } from "../run/objects.ts";
import type { Kube, Manifest } from "../tools/kube.ts";
import { type CallSite, callSite, legible } from "./call-site.ts";
import {
  type Claim,
  declare,
  type DeclaredClaim,
  isCollecting,
  type Judging,
  type NodeClaim,
  type NodeStage,
} from "./claims.ts";
import { collected } from "./evidence.ts";
import { changes } from "./guard.ts";
import { checkpointOf, type ForkedCluster, onFork, openFork, type OpenFork } from "./scenario.ts";
import { observers, type SeenAt } from "./observers.ts";
import { atTheEnd, noteClaim } from "./results.ts";
import { type SharedCluster, sharedCluster, sharedClusters } from "./shared-cluster.ts";
import { specNodes } from "./spec-nodes.ts";

/** A cluster as specs speak of it. */
export interface SpecCluster {
  /** One claim on the whole cluster, judged as soon as its stage has passed. */
  expects<At extends keyof SeenAt>(stage: At, title: string, claim: Claim<At>): void;
  /** One claim a node; the node's name ends the title. */
  eachNode<At extends NodeStage>(stage: At, title: string, claim: NodeClaim<At>): void;
  /**
   * Something destructive, once, on a fork of the cluster that nobody else uses meanwhile. What it returns is what its claims judge:
   * plain data, so that their teeth can be shown. Nothing is forked unless one of its claims runs. A fork that was healed, and is as it
   * was, goes on to the next scenario that waits; any other goes when its scenario is over.
   */
  onFork<T>(name: string, scenario: (cluster: ForkedCluster) => Promise<T>): Scenario<T>;
  /** A fork to break; only inside a test. It goes when it is disposed of. */
  fork(): Promise<OpenFork>;
  /** The API; only inside a claim. */
  kube(): Promise<Kube>;
  /** Applies objects and deletes them at the end of the scope; at once, if the API refuses one. */
  apply(...objects: readonly Manifest[]): Promise<AsyncDisposable>;
}

/** A destructive scenario, and the claims on what came of it. */
export interface Scenario<T> {
  expects(title: string, claim: (context: { readonly seen: T; readonly plan: Plan }) => void | Promise<void>): void;
}

/**
 * The cluster of a spec, shared by all spec files: joined when it runs unchanged, made by `kpi up` otherwise. Nothing
 * happens to it before the first claim runs, so a file whose claims are all filtered out makes, joins and asks none.
 */
export function useCluster(spec: string): SpecCluster {
  const shared = sharedCluster(spec);
  const access = async () => {
    shared.acted = true;
    return (await shared.session()).access;
  };
  const file = callSite();
  let ran = false;
  if (!isCollecting()) closeFile(shared, file, () => ran);
  const judging = (...how: Parameters<typeof judgingOn>) => {
    ran = true; // this is called when the claim is run
    mustGuard(shared, file); // at once: somebody who makes the cluster give way asks for the files until now
    return judgingOn(...how);
  };
  return {
    expects(stage, title, claim) {
      const judge = (seen: unknown, plan: Parameters<typeof claim>[0]["plan"]) =>
        claim({ seen: seen as SeenAt[typeof stage], plan });
      const { after } = observers[stage];
      const declared = { title, spec, stage, after, site: callSite(), eachNode: false, judge };
      declare(declared, [title], () => judging(shared, () => shared.seen(stage)));
    },
    eachNode(stage, title, claim) {
      const names = specNodes(spec);
      const declared = {
        title,
        spec,
        stage,
        after: observers[stage].after,
        site: callSite(),
        eachNode: true,
        judge(seen: unknown, plan: Parameters<typeof claim>[0]["plan"], node?: Parameters<typeof claim>[0]["node"]) {
          const all = seen as SeenAt[typeof stage];
          if (node === undefined) throw new Error("a claim on a node without node");
          const own = all.nodes[node.name] as SeenAt[typeof stage]["nodes"][string] | undefined;
          if (own === undefined) throw new Error(`nothing was seen of ${node.name}`);
          return claim({ seen: own, all, plan, node });
        },
      };
      const titles = names.map((name) => `${title} (${name})`);
      declare(declared, titles, (index) => judging(shared, () => shared.seen(stage), names[index]));
    },
    onFork<T>(name: string, scenario: (cluster: ForkedCluster) => Promise<T>): Scenario<T> {
      const claims: DeclaredClaim[] = [];
      const seen = () =>
        shared.once(name, async () => {
          await roomForForks(shared);
          const plan = await shared.plan();
          return onFork(shared, name, scenario, (found) => failsAny(claims, found, plan));
        });
      return {
        expects(title, claim) {
          const full = `${name}: ${title}`;
          const judge = (found: unknown, plan: Plan) => claim({ seen: found as T, plan });
          const site = callSite();
          const declared = { title: full, spec, stage: name, after: "ready" as const, site, eachNode: false, judge };
          claims.push(declared);
          // What the fork had to say when the scenario or one of its claims failed; it has gone by now.
          declare(declared, [full], () => ({ ...judging(shared, seen), evidence: async () => collected(name) }));
        },
      };
    },
    async fork() {
      await roomForForks(shared);
      return openFork(shared);
    },
    kube: async () => (await access()).kube(),
    async apply(...objects) {
      const into = await access();
      return holdObjects(into.kube(), into.cluster, objects);
    },
  };
}

/** Whether any of the claims will fail: each is a pure function of what was found. */
async function failsAny(claims: readonly DeclaredClaim[], found: unknown, plan: Plan): Promise<boolean> {
  const judged = await Promise.allSettled(claims.map(async ({ judge }) => judge(found, plan)));
  return judged.some(({ status }) => status === "rejected");
}

function judgingOn(shared: SharedCluster, seen: () => Promise<unknown>, node?: string): Judging {
  return {
    plan: () => shared.plan(),
    seen,
    cluster: async () => (await shared.plan()).cluster,
    evidence: () => shared.evidence.places(),
    ...(node === undefined ? {} : { node: () => shared.node(node) }),
  };
}

/**
 * Once a file: what its looks left running begins to go. A file whose claims acted on the cluster (on a node, by the API) is held to leaving
 * it as it was; others only judged what was seen, and are asked for together when the last file is done.
 */
function closeFile(shared: SharedCluster, site: CallSite, ran: () => boolean): void {
  afterAll(async () => {
    if (!ran()) return;
    void shared.tidy();
    await shared.evidence.whole();
    mustGuard(shared, site); // again, if somebody has asked meanwhile
    if (shared.acted) await guard(shared, shared.unguarded);
  }, minutes(3));
}

/** Notes that a file uses the cluster, so that the next who asks whether that has changed asks for this file, too. */
function mustGuard(shared: SharedCluster, site: CallSite): void {
  const files = shared.unguarded;
  if (files.includes(site)) return;
  if (files.length === 0) atTheEnd(() => Promise.all([guard(shared, files), shared.tidy()]));
  files.push(site);
}

/**
 * Leaves the machine to somebody who makes clusters: two cores do not bear the shared ones beside them. Those that this process made
 * are removed. A guard's error is of the files until now, so it is told at the end.
 */
export async function giveWay(): Promise<void> {
  for (const shared of sharedClusters()) {
    const ahead = async () => {
      await shared.evidence.whole();
      await guard(shared, shared.unguarded).catch((error: unknown) => atTheEnd(() => Promise.reject(error)));
    };
    await shared.giveWay(ahead);
  }
}

/** Once there is a checkpoint to fork from, the cluster itself is not needed. */
async function roomForForks(shared: SharedCluster): Promise<void> {
  await checkpointOf(shared);
  await giveWay();
}

/** Fails when the shared cluster is not as it was when these files began. */
async function guard(shared: SharedCluster, files: CallSite[]): Promise<void> {
  const [site, ...others] = files.splice(0);
  if (site === undefined) return;
  const [before, after] = await shared.fingerprints();
  const found = before === undefined || after === undefined ? [] : changes(before, after);
  if (found.length === 0) return;
  const names = [site, ...others].map(({ file }) => file);
  const error = new KpiError(
    "claim",
    `the shared cluster changed while ${names.join(", ")} ran, which ${others.length === 0 ? "is" : "are"} not declared to change it`,
    { details: found, hint: "what changes a cluster belongs into cluster.onFork(...)" },
  );
  const at = new Date().toISOString();
  const place = { file: site.file, line: site.line, area: site.file.replace(/^.*\/|\.spec\.ts$/g, "") };
  const title = "the shared cluster is left as it was";
  noteClaim({ ...place, title, outcome: "failed", at, elapsed: milliseconds(0), error: errorJson(error) });
  throw legible(error, site);
}
