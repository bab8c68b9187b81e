import { copyFileSync, cpSync, existsSync, mkdirSync, readdirSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import type { OnProgress } from "../core/event.ts";
import { describeFault } from "../core/fault-spec.ts";
import type { KpiPaths } from "../core/paths.ts";
import { digestAll } from "../lab/checkpoint.ts";
import { saveLab } from "../lab/checkpoint-save.ts";
import { filesBelow } from "../tools/directory.ts";
import { Terraform } from "../tools/terraform.ts";
import type { Access } from "./access.ts";
import { awaitAwake } from "./awake.ts";
import { knownBinary, seeBinary } from "./binary.ts";
import { checkpointKey, currentInputs } from "./checkpoint-key.ts";
import {
  checkpointsDir,
  checkpointSpace,
  diskUsage,
  evict,
  readCheckpoint,
  stagingDir,
  type StoredCheckpoint,
  writeManifest,
} from "./checkpoint-store.ts";
import type { ClusterState } from "./cluster.ts";
import { coldRun } from "./run-files.ts";
import { declare, declared } from "./journal.ts";
import { pauseBeforeRenewal } from "./lease-moment.ts";

/** After it goes on, every node of a well saved cluster shows within this time that it lives. */
const awakeWithin = seconds(5);
/** How often saving is tried for that. */
const attempts = 2;

export interface CheckpointOptions {
  readonly access: Access;
  readonly state: Pick<ClusterState, "spec" | "image" | "run">;
  readonly paths: KpiPaths;
  /** `justReady`; otherwise what tells this moment from any other of the same cluster. */
  readonly moment: string;
  readonly signal: AbortSignal;
  readonly onProgress: OnProgress;
}

/**
 * Saves a Ready cluster of a lab as a checkpoint, from which forks go on. The nodes stand still for some seconds and have
 * their clocks set afterwards. Until the last step, one rename, there is no checkpoint. Older ones go when room is short.
 */
export async function makeCheckpoint(options: CheckpointOptions): Promise<StoredCheckpoint> {
  const { access, state, paths, moment, signal, onProgress } = options;
  const { lab, plan, cluster } = access;
  if (lab === undefined)
    throw new KpiError("host", "checkpoints are for labs only", { got: `cluster ${cluster.name} on ${access.uri}` });
  const space = checkpointSpace();
  if (space === 0)
    throw new KpiError("host", "no checkpoint may be made: KPI_CHECKPOINT_SPACE is 0", {
      hint: "set it to a size such as 12GiB",
    });
  refuseFaults(cluster.stateDir, cluster.name);
  const began = performance.now();
  onProgress({ what: "waiting until all nodes are Ready" });
  const inputs = await currentInputs(plan, moment, paths, signal);
  await awaitAwake(access, { since: 0, deadline: seconds(30), signal });

  const dir = stagingDir(paths.cache);
  using _intent = declare(cluster.stateDir, { kind: "checkpoint", cluster: cluster.name, path: dir });
  try {
    const { saved, pausedFor } = await saveWell(options, dir);
    onProgress({ what: "looking at the k3s of each node" });
    for (const why of await seeBinaries(access, signal)) onProgress({ what: why });
    onProgress({ what: "reading back what was saved" });
    await keepKnown(access, state.run, dir);
    const files = filesBelow(dir);
    const digests = await digestAll(dir, files, signal);
    const key = checkpointKey(inputs);
    const madeAt = new Date().toISOString();
    const id = `${key.slice(0, 8)}-${Math.round(Date.parse(madeAt) / 1_000).toString(36)}`;
    const took = Math.round(performance.now() - began);
    writeManifest(dir, {
      ...{ id, key, inputs, cluster: plan.cluster, plan, spec: state.spec, image: state.image, madeAt, took },
      ...{ pausedFor: Math.round(pausedFor), size: diskUsage(dir), saved, digests },
    });
    signal.throwIfAborted();
    const size = diskUsage(dir);
    if (size > space)
      throw new KpiError("host", "the checkpoint has no room", {
        expected: `at most ${space} bytes, as KPI_CHECKPOINT_SPACE says`,
        got: `${size} bytes`,
      });
    const final = join(checkpointsDir(paths.cache), id);
    renameSync(dir, final);
    for (const { manifest } of evict(paths.cache, space, id))
      onProgress({ what: `checkpoint ${manifest.id} of cluster ${manifest.cluster} made room` });
    return readCheckpoint(final);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** What is broken on purpose would be broken in every fork, and nobody would heal it there. */
function refuseFaults(state: string, cluster: string): void {
  const faults = declared(state).flatMap(({ intent }) =>
    intent.kind === "fault" && intent.cluster === cluster ? [describeFault(intent.fault)] : [],
  );
  if (faults.length === 0) return;
  throw new KpiError("host", `cluster ${cluster} is broken on purpose`, {
    got: faults.join(", "),
    hint: "wait until the fault is over, or end the kpi that made it",
  });
}

/**
 * Saves until the nodes, going on from exactly what was saved, renew their leases at once. A renewal that slipped in just before a
 * node was paused would cost every fork the ten seconds to the next one.
 */
async function saveWell(options: CheckpointOptions, dir: string): ReturnType<typeof saveLab> {
  const { access, signal, onProgress } = options;
  const { lab, plan } = access;
  if (lab === undefined) throw new Error("no lab");
  for (let attempt = 1; ; attempt += 1) {
    onProgress({ what: "waiting for the moment before the nodes renew their leases" });
    const result = await saveLab(lab, dir, {
      pool: plan.image.pool,
      pause: (machines) => pauseBeforeRenewal(access, machines, signal),
      signal,
      onProgress,
    });
    try {
      await awaitAwake(access, { since: result.resumedAt, deadline: awakeWithin, signal });
      return result;
    } catch (error) {
      if (!(error instanceof KpiError) || error.kind !== "deadline") throw error;
      onProgress({ what: `the nodes were slow to go on: ${error.details.join(", ")}` });
      if (attempt === attempts) return result; // a busy machine: forks will be slow, and right
      for (const part of readdirSync(dir)) rmSync(join(dir, part), { recursive: true, force: true });
    }
  }
}

/**
 * Looks at every k3s that nobody has looked at: the forks' are the same files, so nobody who asks them has to wait for that. Returns why
 * nodes were not looked at, which is no reason to have no checkpoint.
 */
async function seeBinaries(access: Access, signal: AbortSignal): Promise<string[]> {
  const { cluster, plan } = access;
  const unknown = plan.nodes.filter(({ name }) => knownBinary(cluster, name) === undefined);
  const looks = unknown.map(async ({ name }) => {
    await using connection = await access.ssh(name, { signal });
    await seeBinary(cluster, name, connection, signal);
  });
  const ends = await Promise.allSettled(looks);
  signal.throwIfAborted();
  return ends.flatMap((end, index) =>
    end.status === "fulfilled" ? [] : [`the k3s of ${unknown[index]?.name} was not looked at: ${String(end.reason)}`],
  );
}

/** What a fork needs to be spoken to, the cluster's keys, kubeconfig and Terraform state, and what was seen that is true of forks as well. */
async function keepKnown({ cluster, kubeconfigPath }: Access, run: string, dir: string): Promise<void> {
  mkdirSync(join(dir, "secrets"), { recursive: true, mode: 0o700 });
  const secrets = cluster.path("secrets", "token");
  for (const file of readdirSync(join(secrets, "..")))
    copyFileSync(join(secrets, "..", file), join(dir, "secrets", file));
  copyFileSync(kubeconfigPath, join(dir, "kubeconfig"));
  const seen = join(cluster.runsDir, run, "seen.json");
  if (existsSync(seen)) copyFileSync(seen, join(dir, "seen.json"));
  mkdirSync(join(dir, "cold"), { mode: 0o700 });
  copyFileSync(join(coldRun(join(cluster.runsDir, run)), "events.ndjson"), join(dir, "cold", "events.ndjson"));
  const binaries = cluster.path("binaries");
  if (existsSync(binaries)) cpSync(binaries, join(dir, "binaries"), { recursive: true });
  await Terraform.copy(cluster.path("terraform"), join(dir, "terraform"));
}
