import { until } from "../core/deadline.ts";
import { formatDuration, seconds } from "../core/duration.ts";
import type { KpiPaths } from "../core/paths.ts";
import { findLabs, openLab } from "../lab/lab.ts";
import { table } from "../report/plan.ts";
import { Libvirt } from "../tools/libvirt.ts";
import { ClusterDir, type ClusterState } from "./cluster.ts";
import { users } from "./users.ts";

/** A lab of this machine, and what runs in it. */
export interface LabView {
  readonly name: string;
  readonly state: "running" | "half" | "dead";
  /** The cluster whose plan it runs; absent when nobody remembers it. */
  readonly cluster?: string;
  readonly phase?: ClusterState["phase"];
  /** The checkpoint that it went on from, for a fork. */
  readonly checkpoint?: string;
  readonly since?: string;
  /** The process with which the cluster goes, where one has it made for itself: a suite. */
  readonly goesWith?: number;
  /** Processes that use the cluster at the moment, as far as they say so: suites. */
  readonly users: readonly number[];
  /** What its guests hold of the host's memory. */
  readonly residentMiB: number;
  readonly domains: Readonly<Record<string, string>>;
  readonly uri?: string;
}

/** Every lab below the state directory, with its guests as libvirt sees them. */
export async function labList(paths: KpiPaths): Promise<LabView[]> {
  return Promise.all(
    findLabs(paths.state).map(async ({ name, dir, state }): Promise<LabView> => {
      const lab = await openLab(dir).catch(() => undefined);
      const cluster = new ClusterDir(paths.state, name);
      const known = remembered(cluster);
      const about = {
        ...(known === undefined ? {} : { cluster: known.plan.cluster, phase: known.phase, since: known.since }),
        ...(known?.origin === undefined ? {} : { checkpoint: known.origin.checkpoint }),
        ...(known?.goesWith === undefined ? {} : { goesWith: known.goesWith.pid }),
        users: users(cluster).map(({ pid }) => pid),
      };
      if (lab === undefined) return { name, state, ...about, residentMiB: 0, domains: {} };
      const domains = await until("libvirt", seconds(5), (signal) => new Libvirt(lab.uri).domains(signal)).catch(
        () => [],
      );
      return {
        ...{ name, state, ...about, uri: lab.uri },
        residentMiB: domains.reduce((sum, { residentMiB }) => sum + residentMiB, 0),
        domains: Object.fromEntries(domains.map((domain) => [domain.name, domain.state])),
      };
    }),
  );
}

function remembered(cluster: ClusterDir): ClusterState | undefined {
  try {
    return cluster.read();
  } catch {
    return undefined;
  }
}

export function renderLabs(labs: readonly LabView[]): string {
  if (labs.length === 0) return "no lab: kpi up makes one, kpi fork too";
  const rows = labs.map(({ name, state, cluster, phase, checkpoint, since, goesWith, users, residentMiB, domains }) => [
    name,
    state === "running" ? (phase ?? "unknown") : state,
    checkpoint === undefined ? (cluster ?? "-") : `${cluster} from ${checkpoint}`,
    since === undefined ? "-" : `${formatDuration(Date.now() - Date.parse(since))} ago`,
    `${(residentMiB / 1_024).toFixed(1)} GiB`,
    Object.entries(domains)
      .map(([domain, its]) => (its === "running" ? domain : `${domain} (${its})`))
      .join(", ") || "-",
    goesWith === undefined ? "-" : `process ${goesWith}`,
    users.join(", ") || "-",
  ]);
  return table(["lab", "state", "cluster", "since", "memory", "nodes", "goes with", "used by"], rows);
}
