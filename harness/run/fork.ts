import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { seconds } from "../core/duration.ts";
import { errorJson, exitCode, KpiError, unlessRefused } from "../core/errors.ts";
import type { KpiPaths } from "../core/paths.ts";
import { damage } from "../lab/checkpoint.ts";
import { makeOverlays, placeDisks, restorePaused } from "../lab/checkpoint-restore.ts";
import { startLab } from "../lab/lab.ts";
import { type Process, processStart } from "../tools/owner.ts";
import { Terraform } from "../tools/terraform.ts";
import { writeWhole } from "../tools/whole-file.ts";
import { Access } from "./access.ts";
import { admit } from "./admission.ts";
import { awaitAwake } from "./awake.ts";
import { noteUse, readCheckpoint, refer, type StoredCheckpoint } from "./checkpoint-store.ts";
import type { ClusterDir } from "./cluster.ts";
import { unmakeAfter } from "./down.ts";
import { type Declared, declare } from "./journal.ts";
import { runId } from "./log.ts";

/** A fork that is not awake by then is discarded. */
const awakeLimit = seconds(60);

/** Something a fork has come to, in milliseconds since it began. */
export interface Mark {
  readonly what: string;
  readonly at: number;
}

export interface ForkOptions {
  readonly checkpoint: StoredCheckpoint;
  readonly paths: KpiPaths;
  /** Where the fork is remembered; its name is the new lab's. Held by the caller, and free. */
  readonly cluster: ClusterDir;
  /** The run that it belongs to; one of its own unless said otherwise. */
  readonly run?: string;
  /** For whom it is made, if it goes with that process though it is finished. */
  readonly goesWith?: Process | undefined;
  /** Why the checkpoint may not be used after all, as soon as it is known; looked at before anything in it runs. */
  readonly unfit?: Promise<string | undefined>;
  readonly signal: AbortSignal;
  /** When it began, by performance.now(): now, unless a command counts from its own start, which is 0. */
  readonly began?: number;
  readonly onMark?: (mark: Mark) => void;
}

/** A fork that is Ready, and where its time went. */
export interface Fork {
  readonly access: Access;
  readonly marks: readonly Mark[];
  /** Settled by whoever lets it stay; a fork of a process that dies before goes with the next command. */
  readonly intent: Declared;
}

/**
 * Makes a cluster go on from a checkpoint in a lab of its own. Resolves when its API answers and every node is Ready with a
 * lease renewed since then. The files are read and compared side by side with the restore; until all are found whole, nothing
 * of them runs. When it fails or is aborted, what was made is unmade, its evidence kept, and the first error thrown.
 */
export async function forkCheckpoint(options: ForkOptions): Promise<Fork> {
  const { paths, cluster, signal, began = performance.now() } = options;
  const { name } = cluster;
  const { dir, manifest } = options.checkpoint;
  const { plan } = manifest;
  const marks: Mark[] = [];
  const mark = (what: string) => {
    const reached = { what, at: Math.round(performance.now() - began) };
    marks.push(reached);
    options.onMark?.(reached);
  };
  if (cluster.exists() || existsSync(cluster.labDir))
    throw new KpiError("spec", `there is a cluster or lab ${name} already`, { hint: `kpi down --lab ${name}` });
  using place = await admit(plan, paths, { name, signal, onQueued: (why) => mark(`waiting: ${why}`) });
  const ref = refer(dir, name);
  const intent = declare(paths.state, { kind: "cluster", cluster: name, host: plan.host });
  const run = options.run ?? runId(name, new Date());
  const working = new AbortController();
  const stop = AbortSignal.any([signal, working.signal]);
  let whole: Promise<void> | undefined;
  try {
    readCheckpoint(dir); // it was there when it was chosen; from here on it stays
    const origin = { checkpoint: manifest.id, cluster: manifest.cluster };
    const { spec, image } = manifest;
    const state = { plan, spec, run, image, since: new Date().toISOString(), origin, goesWith: options.goesWith };
    cluster.write({ ...state, phase: "making" });
    takeKnown(dir, cluster, run);
    whole = checkWhole(options, stop).then(() => mark("the checkpoint is whole"));
    whole.catch((error: unknown) => working.abort(error));
    const into = cluster.path("overlays");
    mkdirSync(into, { recursive: true, mode: 0o700 });
    const [lab] = await Promise.all([
      openLabFor(options, cluster, stop),
      makeOverlays(manifest.saved, manifest.id, into, "/var/lib/libvirt/images"),
    ]);
    mark("lab is up");
    const access = new Access(cluster, plan, lab);
    access.keepKubeconfig(readFileSync(join(dir, "kubeconfig"), "utf8"));
    access.writeSshConfig();
    const log = join(cluster.runsDir, run, "terraform.log");
    await Terraform.copy(join(dir, "terraform"), cluster.path("terraform"), {
      log,
      variables: { libvirt_uri: access.uri },
    });
    await placeDisks(lab, dir, manifest.id, manifest.saved, into);
    rmSync(into, { recursive: true });
    const machines = await restorePaused(lab, dir, manifest.saved, stop);
    mark("memory is restored");
    await whole;
    const since = Date.now();
    // One after the other, the server first: a node whose neighbours are waking takes seconds to hear what time it is.
    for (const { name: node } of plan.nodes) await machines.goOn(node);
    mark("nodes run and have the time");
    await awaitAwake(access, { since, deadline: awakeLimit, signal: stop, onMark: mark });
    refer(dir, name, { pid: lab.pid, start: processStart(lab.pid) ?? 0, command: `lab ${name}` });
    noteUse(options.checkpoint);
    cluster.write({ ...state, phase: "ready" });
    mark("Ready");
    return { access, marks, intent };
  } catch (first) {
    // What is wrong with the checkpoint explains best why a restore failed.
    const error =
      (await (signal.aborted ? undefined : whole)?.then(
        () => first,
        (reason: unknown) => reason,
      )) ?? first;
    const keep = () => (exitCode(error) === 130 ? [] : keepEvidence(cluster, run, error, marks));
    const evidence = (await unlessRefused(keep)) ?? [];
    throw await unmakeAfter(error instanceof KpiError ? error.with({ evidence }) : error, cluster, intent);
  } finally {
    working.abort();
    rmSync(ref, { force: true });
    place.release();
  }
}

/** Every file against its digest, and whatever else speaks against it. */
async function checkWhole({ checkpoint, unfit }: ForkOptions, signal: AbortSignal): Promise<void> {
  const { dir, manifest } = checkpoint;
  const [wrong, reason] = await Promise.all([damage(dir, manifest.digests, signal), unfit]);
  const why = wrong ?? reason;
  if (why !== undefined) throw unusable(checkpoint, why);
}

/** The error for a checkpoint that must not be used. */
export function unusable({ dir, manifest }: StoredCheckpoint, why: string): KpiError {
  return new KpiError("host", `checkpoint ${manifest.id} of cluster ${manifest.cluster} is not used: ${why}`, {
    got: dir,
    hint: `make a new one: kpi up, or kpi checkpoint ${manifest.cluster} on the running cluster`,
  });
}

/** The cluster's keys, and what was seen of it. */
function takeKnown(dir: string, cluster: ClusterDir, run: string): void {
  mkdirSync(cluster.path("secrets"), { recursive: true, mode: 0o700 });
  for (const file of readdirSync(join(dir, "secrets")))
    copyFileSync(join(dir, "secrets", file), cluster.path("secrets", file));
  writeWhole(
    join(cluster.runsDir, run, "cold", "events.ndjson"),
    readFileSync(join(dir, "cold", "events.ndjson"), "utf8"),
  );
  const binaries = join(dir, "binaries");
  if (existsSync(binaries)) cpSync(binaries, cluster.path("binaries"), { recursive: true });
  const seen = join(dir, "seen.json");
  if (existsSync(seen)) writeWhole(join(cluster.runsDir, run, "seen.json"), readFileSync(seen, "utf8"));
}

/** The same world as the original's: network, names, files served. */
async function openLabFor({ checkpoint, paths }: ForkOptions, cluster: ClusterDir, signal: AbortSignal) {
  const { inputs, plan } = checkpoint.manifest;
  const { network } = plan;
  mkdirSync(join(cluster.stateDir, "labs"), { recursive: true, mode: 0o700 });
  return startLab({
    name: cluster.name,
    dir: cluster.labDir,
    network: { name: network.name, cidr: network.cidr, gateway: network.gateway, dns: network.dns },
    names: Object.fromEntries(network.requiredNames.map((name) => [name, network.gateway])),
    files: {},
    accelerator: inputs["accelerator"] === "kvm" ? "kvm" : "tcg",
    cacheDir: join(paths.cache, "libvirt"),
    signal,
  });
}

/** What explains a fork that failed: its marks and error, the lab's logs, QEMU's, the consoles. Returns the directory. */
function keepEvidence(cluster: ClusterDir, run: string, error: unknown, marks: readonly Mark[]): string[] {
  const into = join(cluster.runsDir, run);
  writeWhole(join(into, "fork.json"), `${JSON.stringify({ error: errorJson(error), marks }, null, 2)}\n`);
  const log = join(cluster.labDir, "log");
  const logs = existsSync(log) ? [...new Bun.Glob("**/*.log").scanSync({ cwd: log })] : [];
  for (const file of logs) {
    mkdirSync(join(into, file, ".."), { recursive: true, mode: 0o700 });
    copyFileSync(join(log, file), join(into, file));
  }
  return [into];
}
