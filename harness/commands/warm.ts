import { formatDuration } from "../core/duration.ts";
import { kpiPaths } from "../core/paths.ts";
import { listCheckpoints } from "../run/checkpoint-store.ts";
import { interruptible } from "../run/interrupt.ts";
import { labList, renderLabs } from "../run/labs.ts";
import { checkpointJson, renderCheckpoint, renderCheckpoints } from "../run/checkpoint-view.ts";
import { openCheckpoint, openCluster } from "../run/running.ts";
import { useCommands } from "../run/status.ts";
import { type Arguments, type Command, flag, json, pickCluster, show, text } from "./command.ts";

const toPeople = (line: string) => void process.stderr.write(`kpi: ${line}\n`);

/** The cluster whose checkpoint is meant: the named one, the running one, or the one of the newest checkpoint. */
function checkpointed(args: Arguments): string {
  const name = args.positionals[0];
  if (name !== undefined) return name;
  const [newest] = listCheckpoints(kpiPaths().cache);
  return newest?.manifest.cluster ?? pickCluster(args).name;
}

async function save(args: Arguments): Promise<number> {
  return interruptible(async (signal) => {
    const asJson = flag(args, "json");
    if (flag(args, "why")) {
      const checkpoint = openCheckpoint(checkpointed(args));
      const why = await checkpoint.unfit(undefined, signal);
      if (asJson) return show(JSON.stringify({ id: checkpoint.id, fits: why === undefined, why: why ?? "" }));
      return show(`${checkpoint.id}: ${why ?? "nothing has changed since; it would be used"}`);
    }
    const name = args.positionals[0] ?? pickCluster(args).name;
    const cluster = await openCluster(name);
    const checkpoint = await cluster.save({ signal, onProgress: ({ what }) => toPeople(what) });
    const { stored } = checkpoint;
    return show(asJson ? JSON.stringify(checkpointJson(stored), null, 2) : renderCheckpoint(stored));
  });
}

async function fork(args: Arguments): Promise<number> {
  return interruptible(async (signal) => {
    const as = text(args, "as");
    const checkpoint = openCheckpoint(checkpointed(args), kpiPaths(), toPeople);
    const cluster = await checkpoint.fork({
      signal,
      began: 0, // what starting this program took counts
      ...(as === undefined ? {} : { as }),
      onMark: ({ what, at }) => toPeople(`${formatDuration(at).padStart(6)} ${what}`),
    });
    cluster.keep();
    const use = useCommands(cluster.access);
    const { name, marks, plan } = cluster;
    const took = marks.at(-1)?.at ?? 0;
    if (flag(args, "json")) {
      const { lab } = cluster.access;
      const nodes = plan.nodes.map((node) => ({ name: node.name, address: node.address }));
      return show(JSON.stringify({ name, checkpoint: checkpoint.id, took, marks, uri: lab?.uri, nodes, use }, null, 2));
    }
    return show(
      `${name} is Ready after ${formatDuration(took)}\n  ${use.kubectl}\n  ${use.ssh}\n  kpi down --lab ${name}`,
    );
  });
}

/** Commands about clusters that are frozen, and the labs that go on from them. */
export const warmCommands: Readonly<Record<string, Command>> = {
  checkpoint: {
    summary: "freeze a Ready cluster: memory and disks of all nodes, to fork from",
    more: "It stands still for some seconds and goes on. `kpi up` makes a checkpoint by itself. Needs a lab.",
    positionals: ["[NAME]"],
    options: { why: { type: "boolean", help: "make none; say what has changed since the newest" }, json },
    run: save,
  },
  checkpoints: {
    readOnly: true,
    summary: "the checkpoints that are there: cluster, size, age, uses, key",
    options: { json },
    async run(args) {
      const all = listCheckpoints(kpiPaths().cache, toPeople);
      return show(flag(args, "json") ? JSON.stringify(all.map(checkpointJson), null, 2) : renderCheckpoints(all));
    },
  },
  fork: {
    summary: "a cluster that goes on from the newest checkpoint, in seconds, in a lab of its own",
    more: "Same nodes, addresses and keys as the original, in namespaces of its own. NAME is the original's, or the id of a checkpoint.",
    positionals: ["[NAME]"],
    options: { as: { type: "string", value: "LAB", help: "name of the lab (default: NAME-f1, -f2, ...)" }, json },
    run: fork,
  },
  labs: {
    readOnly: true,
    summary: "the labs of this machine: what runs in each, since when, memory",
    options: { json },
    async run(args) {
      const labs = await labList(kpiPaths());
      return show(flag(args, "json") ? JSON.stringify(labs, null, 2) : renderLabs(labs));
    },
  },
};
