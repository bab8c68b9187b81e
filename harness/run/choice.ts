import { existsSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { shortages } from "../core/capacity.ts";
import { type KpiPaths, projectRoot } from "../core/paths.ts";
import { type Host, type Plan, planCluster } from "../core/plan.ts";
import { loadSpec } from "../core/spec.ts";
import { probeAccelerator } from "../lab/accelerator.ts";
import { inspectSupplies, loadLock, type SupplyLock } from "../supplies/supplies.ts";
import { machineCapacity } from "./capacity.ts";
import { ClusterDir } from "./cluster.ts";
import { heldBy } from "./held.ts";

/** A plan, the spec that it follows from, and one sentence on why it is that spec. */
export interface Choice {
  readonly plan: Plan;
  readonly spec: string;
  readonly why: string;
}

const specsDir = join(projectRoot, "specs");

/** What somebody calls a file: the name of one in `specs/`, as a bare word without the ending, or a path. Absolute. */
export function pathOf(given: string, ending: string): string {
  const named = join(specsDir, `${given}${ending}`);
  return !/[/.]/.test(given) && existsSync(named) ? named : resolve(given);
}

/**
 * The spec asked for (a path, or a name of one in `specs/`); without one, `kpi.yaml` where this machine can run it and `lab.yaml` otherwise.
 * Throws a `spec` error for all that is wrong with it, also against what the supplies lock pins.
 */
export async function chooseSpec(
  given: string | undefined,
  host: Host,
  paths: KpiPaths,
  signal?: AbortSignal,
): Promise<Choice> {
  const lock = await loadLock();
  const planOf = async (path: string) => planCluster(await loadSpec(path, lock), host);
  if (given !== undefined) {
    const path = pathOf(given, ".yaml");
    const plan = await planOf(path);
    return { plan, spec: path, why: `${basename(path)}: cluster ${plan.cluster}, as asked for` };
  }
  const production = join(specsDir, "kpi.yaml");
  const plan = await planOf(production);
  const reasons = host.kind === "libvirt" ? [] : await whyNot(plan, paths, lock, signal);
  if (reasons.length === 0)
    return { plan, spec: production, why: `kpi.yaml: the production cluster, because this machine can run it` };
  const emulated = join(specsDir, "lab.yaml");
  return {
    plan: await planOf(emulated),
    spec: emulated,
    why: `lab.yaml: the emulated cluster, because this machine cannot run kpi.yaml: ${reasons.join("; ")}`,
  };
}

/** What keeps this machine from running the production cluster; the cheap questions first, KVM last because it means booting something. */
async function whyNot(plan: Plan, paths: KpiPaths, lock: SupplyLock, signal?: AbortSignal): Promise<string[]> {
  const stoppable = signal === undefined ? {} : { signal };
  const [free, held] = [machineCapacity(paths.state), await heldBy(new ClusterDir(paths.state, plan.cluster))];
  const lacks = shortages(plan, {
    ...free,
    memoryMiB: free.memoryMiB + held.memoryMiB, // where it runs already, it can
    diskGiB: free.diskGiB + held.diskGiB,
  });
  const names = [plan.image.source, plan.k3s.distribution];
  const unpinned = (await inspectSupplies({ lock, cache: paths.cache, names, ...stoppable }))
    .filter(({ state }) => state === "unpinned")
    .map(({ name, version }) => `supply ${name} ${version} is not pinned`);
  const reasons = [...lacks, ...unpinned];
  if (reasons.length > 0) return reasons;
  const { accelerator, proof } = await probeAccelerator({ cache: paths.cache, ...stoppable });
  return accelerator === "kvm" ? [] : [`no working KVM (${proof})`];
}
