import { formatDuration } from "../core/duration.ts";
import { table } from "../report/plan.ts";
import { type StoredCheckpoint, users } from "./checkpoint-store.ts";

const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(1)} GB`;

/** A checkpoint for a program. */
export function checkpointJson({ dir, manifest, uses }: StoredCheckpoint): Record<string, unknown> {
  const { id, key, inputs, cluster, spec, madeAt, took, pausedFor, size } = manifest;
  return { ...{ id, cluster, spec, key, inputs, madeAt, took, pausedFor, size, dir }, uses, labs: users(dir) };
}

/** The one that has just been made, for a person. */
export function renderCheckpoint({ manifest }: StoredCheckpoint): string {
  const { id, cluster, size, took, pausedFor } = manifest;
  const times = `in ${formatDuration(took)}, of which the nodes stood still ${formatDuration(pausedFor)}`;
  return `checkpoint ${id} of cluster ${cluster}: ${gigabytes(size)} ${times}\n  kpi fork ${cluster}`;
}

/** All of them, newest first, for a person. */
export function renderCheckpoints(all: readonly StoredCheckpoint[]): string {
  if (all.length === 0) return "no checkpoint yet: kpi up makes one, kpi checkpoint too";
  const rows = all.map(({ dir, manifest, uses }) => [
    manifest.id,
    manifest.cluster,
    gigabytes(manifest.size),
    `${formatDuration(Date.now() - Date.parse(manifest.madeAt))} ago`,
    String(uses.count),
    users(dir).join(", ") || "-",
    manifest.key.slice(0, 12),
  ]);
  return table(["checkpoint", "cluster", "size", "made", "uses", "labs", "key"], rows);
}
