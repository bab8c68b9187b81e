import { afterAll } from "bun:test";
import { join } from "node:path";
import { minutes } from "../core/duration.ts";
import { collectEvidence } from "../run/evidence.ts";
import type { Kube, Manifest } from "../tools/kube.ts";
import { callSite, type Claim, declare, isCollecting, type Judging, type NodeClaim, type NodeStage } from "./claims.ts";
import type { SeenAt } from "./observers.ts";
import { suiteDir } from "./results.ts";
import { type SharedCluster, sharedCluster } from "./shared-cluster.ts";
import { specNodes } from "./spec-nodes.ts";

/** A cluster as specs speak of it. */
export interface SpecCluster {
  /** One claim on the whole cluster, judged as soon as its stage has passed. */
  expects<At extends keyof SeenAt>(stage: At, title: string, claim: Claim<At>): void;
  /** One claim a node; the node's name ends the title. */
  eachNode<At extends NodeStage>(stage: At, title: string, claim: NodeClaim<At>): void;
  /** The API; only inside a claim. */
  kube(): Promise<Kube>;
  /** Applies objects and deletes them at the end of the scope. */
  apply(...objects: readonly Manifest[]): Promise<AsyncDisposable>;
}

/**
 * The cluster of a spec, shared by all spec files: joined when it runs unchanged, made by `kpi up` otherwise. Nothing
 * happens before the first claim runs, so a filtered-out file costs nothing.
 */
export function useCluster(spec: string): SpecCluster {
  const shared = sharedCluster(spec);
  const kube = async () => (await shared.session()).access.kube();
  if (!isCollecting()) closeFile(shared);
  return {
    expects(stage, title, claim) {
      const judge = (seen: unknown, plan: Parameters<typeof claim>[0]["plan"]) =>
        claim({ seen: seen as SeenAt[typeof stage], plan });
      declare({ title, spec, stage, site: callSite(), eachNode: false, judge }, [title], () => judging(shared, stage));
    },
    eachNode(stage, title, claim) {
      const names = specNodes(spec);
      const declared = {
        title,
        spec,
        stage,
        site: callSite(),
        eachNode: true,
        judge(seen: unknown, plan: Parameters<typeof claim>[0]["plan"], node?: Parameters<typeof claim>[0]["node"]) {
          const all = seen as SeenAt[typeof stage];
          if (node === undefined) throw new Error("a claim on a node without node");
          const own = all.nodes[node.name];
          if (own === undefined) throw new Error(`nothing was seen of ${node.name}`);
          return claim({ seen: own, all, plan, node });
        },
      };
      const titles = names.map((name) => `${title} (${name})`);
      declare(declared, titles, (index) => judging(shared, stage, names[index]));
    },
    kube,
    async apply(...objects) {
      const api = await kube();
      await api.apply(objects);
      return { [Symbol.asyncDispose]: () => api.delete(objects) };
    },
  };
}

function judging(shared: SharedCluster, stage: keyof SeenAt, node?: string): Judging {
  return {
    plan: () => shared.plan(),
    seen: () => shared.seen(stage),
    cluster: async () => (await shared.plan()).cluster,
    evidence: () => evidence(shared),
    ...(node === undefined
      ? {}
      : {
          async node() {
            const found = (await shared.session()).nodes.find(({ name }) => name === node);
            if (found === undefined) throw new Error(`no node ${node}`);
            return found;
          },
        }),
  };
}

const collecting = new Map<SharedCluster, { readonly dir: string; readonly done: Promise<unknown> }>();

/** After the first failure, once a cluster: what its nodes, libvirt and API say. Later failures point to the same; nobody waits. */
async function evidence(shared: SharedCluster): Promise<readonly string[]> {
  const known = collecting.get(shared);
  if (known !== undefined) return [known.dir];
  const { access } = await shared.session();
  const dir = join(suiteDir(), "evidence", access.plan.cluster);
  const done = collectEvidence(access, dir, AbortSignal.timeout(minutes(2))).catch(() => {}); // what is missing, it says itself
  collecting.set(shared, { dir, done });
  return [dir];
}

/** Once a file: what its claims left running. */
function closeFile(shared: SharedCluster): void {
  afterAll(async () => {
    await Promise.all([shared.tidy(), collecting.get(shared)?.done]);
  }, minutes(3));
}
