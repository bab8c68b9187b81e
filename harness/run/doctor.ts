import { KpiError } from "../core/errors.ts";
import type { OnProgress } from "../core/event.ts";
import type { KpiPaths } from "../core/paths.ts";
import type { Plan } from "../core/plan.ts";
import type { Accelerator } from "../lab/accelerator.ts";
import { ClusterDir } from "./cluster.ts";
import { blocking, type Check } from "./doctor-check.ts";
import { type Facts, gatherFacts } from "./doctor-facts.ts";
import { applyFixes, describeFixes } from "./doctor-fix.ts";
import { checkHypervisor, type HypervisorFacts } from "./doctor-hypervisor.ts";
import { checkBackports, checkMachine } from "./doctor-machine.ts";
import { checkTools, libvirtPackages } from "./doctor-tools.ts";
import { heldBy, type Room } from "./held.ts";

export { blocking, type Check, renderDoctor } from "./doctor-check.ts";

export interface DoctorOptions {
  readonly plan: Plan;
  readonly paths: KpiPaths;
  readonly signal?: AbortSignal;
  /** Look for what only `kpi test` needs as well; so unless said otherwise. */
  readonly tests?: boolean;
}

export interface Diagnosis {
  readonly checks: readonly Check[];
  readonly facts: Facts;
}

/** Looks at the machine and judges it against what the plan needs. Changes nothing. */
export async function runDoctor({ plan, paths, signal, tests = true }: DoctorOptions): Promise<Diagnosis> {
  const names = { pool: plan.image.pool, libvirtNetwork: plan.network.name };
  const stoppable = signal === undefined ? {} : { signal };
  const [seen, held] = await Promise.all([
    gatherFacts({ host: plan.host, paths, ...names, ...stoppable }),
    heldBy(new ClusterDir(paths.state, plan.cluster)),
  ]);
  const facts = withFreed(seen, held);
  return { checks: judge(facts, plan, tests), facts };
}

/** What the plan's own cluster holds counts as free: it goes before it is made anew. Pure. */
export function withFreed(facts: Facts, { memoryMiB, diskGiB }: Room): Facts {
  const { memory, disk, hypervisor } = facts;
  return {
    ...facts,
    memory: { ...memory, availableMiB: memory.availableMiB + memoryMiB },
    disk: { ...disk, stateGiB: disk.stateGiB + diskGiB },
    ...(hypervisor === undefined ? {} : { hypervisor: withDisk(hypervisor, diskGiB) }),
  };
}

function withDisk({ pool, freeGiB, ...hypervisor }: HypervisorFacts, diskGiB: number): HypervisorFacts {
  const free = pool.availableGiB;
  return {
    ...hypervisor,
    freeGiB: freeGiB + diskGiB,
    pool: free === undefined ? pool : { ...pool, availableGiB: free + diskGiB },
  };
}

/** All checks for a plan on a machine. Pure. */
export function judge(facts: Facts, plan: Plan, tests = false): Check[] {
  const lab = plan.host.kind === "lab";
  const more = [
    "go" as const, // the libvirt provider, whose release is not pinned
    ...(plan.image.source === "debian-13-lookalike" ? ["mmdebstrap" as const] : []),
    ...(tests ? ["tests" as const] : []),
  ];
  const tools = checkTools(facts, [lab ? "lab" : "libvirt", ...more]);
  const packagesWanted = tools.some(({ outcome, fix }) => outcome !== "ok" && fix?.packages !== undefined);
  return [
    ...checkMachine(facts, plan),
    ...(facts.hypervisor === undefined ? [] : checkHypervisor(facts.hypervisor, libvirtPackages(facts))),
    ...(packagesWanted ? checkBackports(facts) : []),
    ...tools,
  ];
}

export interface ReadyOptions extends Omit<DoctorOptions, "tests"> {
  /** Told what is missing and what is about to be done, before it is done. */
  readonly note: (text: string) => void;
  readonly onProgress?: OnProgress;
  readonly log?: string;
}

/**
 * Makes this machine able to run the plan: looks, installs and mends what it may, looks again. Throws a `host` error that
 * lists all that still stands in the way.
 */
export async function makeReady(options: ReadyOptions): Promise<Accelerator> {
  const { note, onProgress, log } = options;
  onProgress?.({ what: "looking at this machine" });
  let { checks, facts } = await runDoctor({ ...options, tests: false });
  // A second round, because some things can only be looked at when others are there; a third would only repeat itself.
  for (let round = 0; round < 2 && blocking(checks).some(({ fix }) => fix?.automatic === true); round += 1) {
    for (const { title, seen } of blocking(checks)) note(`missing: ${title} (${seen})`);
    for (const line of describeFixes(checks)) note(`doing: ${line}`);
    await applyFixes(checks, {
      facts,
      ...(onProgress === undefined ? {} : { onProgress }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
      ...(log === undefined ? {} : { log }),
    });
    ({ checks, facts } = await runDoctor({ ...options, tests: false }));
  }
  const bad = blocking(checks);
  const accelerator = facts.accelerator ?? remoteAccelerator(facts);
  if (bad.length === 0 && accelerator !== undefined) return accelerator;
  throw notReady(bad);
}

/** On another machine nothing can be booted before the cluster is; what its libvirt says must do as a proof. */
function remoteAccelerator({ hypervisor }: Facts): Accelerator | undefined {
  if (hypervisor?.ssh === undefined) return undefined;
  return hypervisor.kvm
    ? { accelerator: "kvm", proof: `libvirt has KVM at ${hypervisor.uri}`, cpuModel: "host" }
    : { accelerator: "tcg", proof: `libvirt has no KVM at ${hypervisor.uri}`, cpuModel: "qemu64" };
}

function notReady(bad: readonly Check[]): KpiError {
  const [only] = bad;
  const what =
    bad.length === 1
      ? `this machine cannot run the cluster: ${only?.title}`
      : `this machine cannot run the cluster: ${bad.length} things are missing or wrong`;
  return new KpiError("host", what, {
    details: bad.flatMap(({ title, outcome, seen, why, fix }) => [
      `${title} is ${outcome}: ${seen} (${why})`,
      ...(fix === undefined ? [] : [`  fix: ${fix.command}`]),
    ]),
    hint: "kpi doctor shows everything that was looked at",
  });
}
