import { chmodSync, mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { factorFor } from "../core/calibration.ts";
import type { Progress, RunEventBody, StageName, Verdict } from "../core/event.ts";
import type { KpiPaths } from "../core/paths.ts";
import type { Plan } from "../core/plan.ts";
import { type Accelerator, probeAccelerator } from "../lab/accelerator.ts";
import { calibrate } from "../lab/calibration.ts";
import { type RunningLab, startLab } from "../lab/lab.ts";
import { buildImage, type StoredImage } from "../supplies/image.ts";
import { loadLock, type ResolvedSupply, resolveSupplies, terraformCliConfig } from "../supplies/supplies.ts";
import type { NodeState } from "../tools/kube-state.ts";
import { otherMachine } from "../tools/libvirt-uri.ts";
import { Terraform } from "../tools/terraform.ts";
import { Access } from "./access.ts";
import type { ClusterDir } from "./cluster.ts";
import { makeReady } from "./doctor.ts";
import type { StageTable } from "./engine.ts";
import { openJump } from "./jump.ts";
import type { RunLog } from "./log.ts";
import type { NodeStep } from "./nodes.ts";
import { recordSeen } from "./seen.ts";
import { supplyFile, terraformVariables } from "./variables.ts";
import { awaitReady, awaitSystemPods, fetchKubeconfig, type Watching, watchNodes } from "./watch.ts";

/** What each stage of `up` observed. */
export interface Seen {
  readonly doctor: Accelerator;
  readonly supplies: Readonly<Record<string, ResolvedSupply>>;
  readonly image: StoredImage;
  readonly apply: { readonly access: Access; readonly watching: Watching };
  readonly boot: Readonly<Record<string, Verdict>>;
  readonly network: Readonly<Record<string, Verdict>>;
  readonly install: Readonly<Record<string, Verdict>>;
  readonly ready: readonly NodeState[];
}

/** What `up` works on. */
export interface UpContext {
  readonly paths: KpiPaths;
  readonly plan: Plan;
  readonly cluster: ClusterDir;
  readonly log: RunLog;
}

/** The stages of `up`. `seen` fills as they pass; a stage reads only what those it needs have put there. */
export function upStages(context: UpContext, seen: Partial<Seen>): StageTable<Seen> {
  const { paths, plan, cluster, log } = context;
  const emit = (body: RunEventBody) => log.emit(body);
  const note = (stage: StageName, text: string) => emit({ type: "note", stage, text });
  const progress = (stage: StageName) => (report: Progress) => emit({ type: "progress", stage, ...report });
  const keep = <Name extends keyof Seen>(name: Name, work: (signal: AbortSignal) => Promise<Seen[Name]>) => {
    return async (signal: AbortSignal) => {
      const found = (seen[name] = await work(signal));
      recordSeen(log.dir, seen);
      return found;
    };
  };
  const eachNode = async (step: NodeStep, signal: AbortSignal) => {
    const { watching } = need(seen, "apply");
    const verdicts = await Promise.all(plan.nodes.map(({ name }) => watching.nodes.step(name, step, signal)));
    return Object.fromEntries(verdicts.map((verdict) => [verdict.node, verdict]));
  };

  return {
    doctor: keep("doctor", async (signal) => {
      const accelerator = await makeReady({
        plan,
        paths,
        signal,
        note: (text) => note("doctor", text),
        onProgress: progress("doctor"),
      });
      await calibrateRun(context, accelerator, signal);
      return accelerator;
    }),

    supplies: keep("supplies", async (signal) => {
      const names = [plan.image.source, plan.k3s.distribution, "packer", "terraform", "terraform-provider-libvirt"];
      const lock = await loadLock();
      const resolved = await resolveSupplies(names, {
        lock,
        cache: paths.cache,
        signal,
        onProgress: (name, report) =>
          emit({ type: "progress", stage: "supplies", ...report, what: `${name}: ${report.what}` }),
      });
      for (const { name, version, source } of Object.values(resolved))
        note("supplies", `${name} ${version} (${source})`);
      return resolved;
    }),

    image: keep("image", async (signal) => {
      // It is built here, wherever it is to run.
      const elsewhere = otherMachine(plan.host) !== undefined;
      const image = await buildImage({
        plan,
        source: supply(seen, plan.image.source),
        accelerator: elsewhere ? await probeAccelerator({ cache: paths.cache, signal }) : need(seen, "doctor"),
        cache: paths.cache,
        packer: supplyFile(need(seen, "supplies"), "packer", "packer").path,
        log: log.path("packer.log"),
        signal,
        onProgress: progress("image"),
      });
      note("image", `${image.name} ${image.key.slice(0, 12)} (${image.cached ? "cached" : "built"})`);
      return image;
    }),

    apply: keep("apply", async (signal) => {
      const image = need(seen, "image");
      const terraform = new Terraform({
        command: supplyFile(need(seen, "supplies"), "terraform", "terraform").path,
        cliConfig: terraformCliConfig(supply(seen, "terraform-provider-libvirt")),
        dir: cluster.path("terraform"),
        log: log.path("terraform.log"),
      });
      // The lab and Terraform's own preparation need nothing of each other.
      const [lab] = await Promise.all([
        plan.host.kind === "lab" ? openNewLab(context, seen, signal) : undefined,
        terraform.init(signal),
      ]);
      if (lab !== undefined) note("apply", `lab is up, libvirt at ${lab.uri}`);
      const access = new Access(cluster, plan, lab, await openJump(plan));
      access.writeSshConfig();
      const variables = terraformVariables({
        access,
        image: image.path,
        accelerator: need(seen, "doctor"),
        supplies: need(seen, "supplies"),
      });
      const watching = watchNodes(access, plan, lab?.consoleDir.host ?? log.path("consoles"), emit);
      try {
        await terraform.apply(variables, { signal, onProgress: progress("apply") });
        // The provider makes every volume 0644, and seeds and roots hold the token and the host keys.
        if (lab !== undefined) ownOnly(join(lab.poolDir.host, plan.image.pool));
      } catch (error) {
        watching[Symbol.dispose]();
        throw error;
      }
      return { access, watching };
    }),

    boot: keep("boot", (signal) => eachNode("interface", signal)),
    network: keep("network", (signal) => eachNode("dns", signal)),
    install: keep("install", (signal) => eachNode("service", signal)),

    ready: keep("ready", async (signal) => {
      const { access } = need(seen, "apply");
      await fetchKubeconfig(access, signal);
      note("ready", "kubeconfig fetched");
      const nodes = await awaitReady(access, emit, signal);
      note("ready", `${nodes.length} nodes Ready`);
      await awaitSystemPods(access, { signal });
      note("ready", "kube-system runs");
      return nodes;
    }),
  };
}

/** Tells by how much budgets are stretched here. A hypervisor elsewhere cannot be measured from here: its budgets are the spec's. */
async function calibrateRun(
  { paths, plan, log }: UpContext,
  accelerator: Accelerator,
  signal: AbortSignal,
): Promise<void> {
  if (otherMachine(plan.host) !== undefined) return;
  const onStep = (what: string) => log.emit({ type: "progress", stage: "doctor", what: `calibration: ${what}` });
  const calibration = await calibrate({ cache: paths.cache, accelerator, signal, onStep });
  log.emit({ type: "calibrated", calibration, factor: factorFor(calibration, plan.nodes.length) });
}

function ownOnly(dir: string): void {
  for (const file of readdirSync(dir)) chmodSync(join(dir, file), 0o600);
}

/** What a stage that has passed saw. That it has passed is the engine's promise, so its absence is a bug. */
function need<Name extends keyof Seen>(seen: Partial<Seen>, name: Name): NonNullable<Partial<Seen>[Name]> {
  const value = seen[name];
  if (value === undefined || value === null) throw new Error(`stage ${name} has not passed`);
  return value;
}

function supply(seen: Partial<Seen>, name: string): ResolvedSupply {
  const found = need(seen, "supplies")[name];
  if (found === undefined) throw new Error(`supply ${name} was not resolved`);
  return found;
}

async function openNewLab(
  { paths, plan, cluster, log }: UpContext,
  seen: Partial<Seen>,
  signal: AbortSignal,
): Promise<RunningLab> {
  const { k3s, network } = plan;
  mkdirSync(join(cluster.stateDir, "labs"), { recursive: true, mode: 0o700 });
  const supplies = need(seen, "supplies");
  const files = Object.fromEntries(
    [k3s.binary, k3s.images].map(({ supply, file, url }) => [
      new URL(url).pathname,
      supplyFile(supplies, supply, file).path,
    ]),
  );
  return startLab({
    name: cluster.name,
    dir: cluster.labDir,
    network: { name: network.name, cidr: network.cidr, gateway: network.gateway, dns: network.dns },
    names: Object.fromEntries(network.requiredNames.map((name) => [name, network.gateway])),
    files,
    accelerator: need(seen, "doctor").accelerator,
    cacheDir: join(paths.cache, "libvirt"),
    signal,
    onProgress: (report) => log.emit({ type: "progress", stage: "apply", ...report }),
  });
}
