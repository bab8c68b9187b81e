import { KpiError } from "../core/errors.ts";
import { kpiPaths } from "../core/paths.ts";
import { renderPlan } from "../report/plan.ts";
import { renderTimeline } from "../report/timeline.ts";
import { purgeCache, refuseUsedCache } from "../run/cache.ts";
import { chooseSpec } from "../run/choice.ts";
import { clusterNames } from "../run/cluster.ts";
import { hostOf, unmakeCluster } from "../run/down.ts";
import { interruptible } from "../run/interrupt.ts";
import { forgetCluster } from "../run/journal.ts";
import { clusterStatus, renderStatus, useCommands } from "../run/status.ts";
import { holdCluster } from "../run/hold.ts";
import { up } from "../run/up.ts";
import { openView } from "../run/view.ts";
import {
  type Arguments,
  type Command,
  cluster,
  flag,
  host,
  json,
  lab,
  parseHost,
  pickCluster,
  show,
  text,
} from "./command.ts";

async function makeUp(args: Arguments, fresh: boolean): Promise<number> {
  const asJson = flag(args, "json");
  await using view = openView(process.stdout, asJson);
  // Awaited here: the view is open until this function returns.
  return await interruptible(async (signal) => {
    const choice = await chooseSpec(args.positionals[0], parseHost(text(args, "host")), kpiPaths(), signal);
    const result = await up({
      ...choice,
      paths: kpiPaths(),
      fresh,
      keep: flag(args, "keep"),
      warm: flag(args, "warm"),
      checkpoint: !flag(args, "no-checkpoint"),
      signal,
      listen: view.listen,
    });
    await view[Symbol.asyncDispose]();
    if (asJson) return 0;
    if (!result.unchanged) show(`\n${renderTimeline(result.record, choice.plan)}`);
    const use = useCommands(result.access);
    return show(`\nuse it:\n  ${use.kubectl}\n  ${use.ssh}`);
  }, view.say);
}

async function remove(args: Arguments): Promise<number> {
  const paths = kpiPaths();
  const known = clusterNames(paths.state);
  const purge = flag(args, "purge");
  const named = args.positionals[0] ?? text(args, "lab") ?? text(args, "cluster");
  if (named === undefined && known.length === 0) {
    if (!purge) return show("nothing to remove");
    refuseUsedCache(paths);
    purgeCache(paths);
    return show("no cluster is there to remove; images and supplies are removed");
  }
  const cluster = pickCluster(args, args.positionals[0]);
  if (!known.includes(cluster.name)) {
    throw new KpiError("spec", `there is no cluster ${JSON.stringify(cluster.name)}`, {
      expected: known.join(", ") || "none exists",
    });
  }
  using _lock = holdCluster(cluster);
  if (purge) refuseUsedCache(paths, cluster.name);
  const host = hostOf(cluster, (why) => process.stderr.write(`kpi: ${why}\n`));
  await unmakeCluster(cluster, host, { orderly: true, say: (line) => show(line) });
  forgetCluster(paths.state, cluster.name);
  if (purge) purgeCache(paths);
  return show(`cluster ${cluster.name} is removed${purge ? ", images and supplies too" : "; its image stays"}`);
}

const noCheckpoint = { type: "boolean", help: "do not freeze it for forks once it is Ready" } as const;

/** Commands that make, show and remove clusters. */
export const clusterCommands: Readonly<Record<string, Command>> = {
  up: {
    summary: "make the cluster; a running, unchanged one is left as it is",
    more: "Without SPEC: kpi.yaml where this machine can run it, lab.yaml otherwise. SPEC is a path, or a name from specs/.",
    positionals: ["[SPEC]"],
    options: {
      host,
      fresh: { type: "boolean", help: "make it anew even if it runs unchanged" },
      keep: { type: "boolean", help: "leave a cluster that failed for a look" },
      warm: { type: "boolean", help: "go on from a checkpoint of exactly this cluster, if there is one" },
      "no-checkpoint": noCheckpoint,
      json: { type: "boolean", help: "one JSON event a line" },
    },
    run: (args) => makeUp(args, flag(args, "fresh")),
  },

  down: {
    summary: "remove the cluster, its disks and its lab; the image stays",
    positionals: ["[CLUSTER]"],
    options: { lab, cluster, purge: { type: "boolean", help: "forget images, supplies and checkpoints as well" } },
    run: remove,
  },

  rebuild: {
    summary: "remove the cluster and make it again: same plan, fresh machines",
    positionals: ["[SPEC]"],
    options: {
      host,
      keep: { type: "boolean", help: "leave a cluster that failed for a look" },
      "no-checkpoint": noCheckpoint,
      json,
    },
    run: (args) => makeUp(args, true),
  },

  status: {
    summary: "what runs, and the commands to use it",
    positionals: ["[CLUSTER]"],
    options: { lab, cluster, json },
    async run(args) {
      const status = await clusterStatus(pickCluster(args, args.positionals[0]));
      return show(flag(args, "json") ? JSON.stringify(status, null, 2) : renderStatus(status));
    },
  },

  plan: {
    readOnly: true,
    summary: "print all that follows from a spec; touches nothing",
    positionals: ["[SPEC]"],
    options: { host, json },
    async run(args) {
      const { plan } = await chooseSpec(args.positionals[0], parseHost(text(args, "host")), kpiPaths());
      return show(flag(args, "json") ? JSON.stringify(plan, null, 2) : renderPlan(plan));
    },
  },
};
