import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { KpiError } from "../core/errors.ts";
import type { KpiPaths } from "../core/paths.ts";
import { findLabs } from "../lab/lab.ts";
import { liveOwner } from "../tools/owner.ts";
import { listCheckpoints, users } from "./checkpoint-store.ts";
import { ClusterDir, clusterNames } from "./cluster.ts";
import { hostOf } from "./down.ts";

/** The directories that kpi makes in its cache. What else lies there is somebody else's: `KPI_CACHE` may name any directory. */
export const cacheParts: readonly string[] = [
  ...["accelerator", "admission", "calibration", "checkpoints", "images", "libvirt", "readers", "supplies"],
];

/** Forgets images, supplies, checkpoints and what was found out about this machine. Nothing else in the cache's directory is touched. */
export function purgeCache({ cache }: KpiPaths): void {
  for (const part of cacheParts) rmSync(join(cache, part), { recursive: true, force: true });
}

/** Throws a `busy` error, naming who, while somebody uses what lies in the cache: a lab or cluster but `going`, or another kpi. */
export function refuseUsedCache(paths: KpiPaths, going?: string): void {
  const who = [...usersOfState(paths.state, going), ...usersOfCache(paths.cache, going)];
  if (who.length === 0) return;
  throw new KpiError("busy", "images and supplies are in use", {
    details: [...new Set(who)],
    hint: "kpi down LAB removes a lab or cluster; without --purge it needs none of the others to be gone",
  });
}

function usersOfState(state: string, going: string | undefined): string[] {
  const labs = findLabs(state).flatMap((lab) => (lab.state === "dead" ? [] : [lab.name]));
  const elsewhere = clusterNames(state).filter(
    (name) => hostOf(new ClusterDir(state, name), () => {}).kind === "libvirt",
  );
  return [...labs, ...elsewhere].filter((name) => name !== going).map((name) => `cluster ${name} is there`);
}

/** Of any state directory: who makes a supply, an image or a fork at this moment, and the labs that go on from a checkpoint. */
function usersOfCache(cache: string, going: string | undefined): string[] {
  if (!existsSync(cache)) return [];
  const locks = ["supplies/*/.lock", "images/*/.lock", "admission/{lock,suite.lock}"].flatMap((pattern) => [
    ...new Bun.Glob(pattern).scanSync({ cwd: cache, dot: true }),
  ]);
  const atWork = locks.flatMap((lock) => liveOwner(join(cache, lock)) ?? []);
  const forks = listCheckpoints(cache).flatMap(({ dir }) => users(dir));
  return [
    ...atWork.map(({ pid, command }) => `process ${pid} is at work there: kpi ${command}`),
    ...forks.filter((lab) => lab !== going).map((lab) => `lab ${lab} goes on from a checkpoint`),
  ];
}
