import { minutes, parseDuration, seconds, formatDuration, type Duration } from "../core/duration.ts";
import { errorJson, KpiError, renderError } from "../core/errors.ts";
import { describeFault, faultKinds, faultUsage, parseFault } from "../core/fault-spec.ts";
import { kpiPaths } from "../core/paths.ts";
import { table } from "../report/plan.ts";
import { type Access, openAccess } from "../run/access.ts";
import { inflictFault } from "../run/fault-table.ts";
import { labOf } from "../run/fault.ts";
import { interruptible } from "../run/interrupt.ts";
import { declared } from "../run/journal.ts";
import { rehearse, type RehearsalEvent } from "../run/rehearsal.ts";
import { largestSeed, randomSchedule, renderSchedule, type Scheduled } from "../run/schedule.ts";
import { type Arguments, type Command, cluster, flag, json, lab, pickCluster, show, text } from "./command.ts";

async function fault(args: Arguments): Promise<number> {
  const words = [...args.positionals, ...args.rest];
  if (flag(args, "list") || words.length === 0) return list(args);
  const random = words[0] === "random";
  const stays = readDuration(args, random ? minutes(2) : seconds(30));
  const { access } = await openAccess(pickCluster(args));
  labOf(access);
  if (!random) {
    if (text(args, "seed") !== undefined || flag(args, "dry-run"))
      throw new KpiError("spec", "--seed and --dry-run go with: kpi fault random");
    return inflictAll(args, access, [{ at: 0 as Duration, fault: parseFault(words, access.plan), for: stays }]);
  }
  if (words[1] !== undefined)
    throw new KpiError("spec", `fault random: unexpected argument ${JSON.stringify(words[1])}`, {
      hint: "kpi fault --help",
    });
  const seed = readSeed(args);
  const schedule = randomSchedule(seed, access.plan, stays);
  if (flag(args, "json")) line({ seed, for: stays, schedule });
  else show(`seed ${seed}; again: kpi fault random --seed ${seed} --for ${stays}ms\n\n${renderSchedule(schedule)}\n`);
  return flag(args, "dry-run") ? 0 : inflictAll(args, access, schedule);
}

/** Inflicts, waits, heals, and waits until the cluster is whole; Ctrl-C heals at once, and the end of the lab ends it. */
async function inflictAll(args: Arguments, access: Access, schedule: readonly Scheduled[]): Promise<number> {
  const asJson = flag(args, "json");
  const began = performance.now();
  const tell = (what: string, state: string) =>
    asJson
      ? line({ t: Math.round(performance.now() - began), what, state })
      : show(`${formatDuration(performance.now() - began).padStart(8)}  ${what}: ${state}`);
  const onEvent = (event: RehearsalEvent) => {
    if (asJson)
      line({
        ...event,
        t: Math.round(event.t),
        ...(event.error === undefined ? {} : { error: errorJson(event.error) }),
      });
    else tell(event.what, event.error === undefined ? event.state : `failed: ${renderError(event.error)}`);
  };
  return interruptible(async (interrupted) => {
    using lab = labOf(access).watch();
    const signal = AbortSignal.any([interrupted, lab.ended]);
    await rehearse(schedule, (spec, stop) => inflictFault(access, spec, stop), { signal, onEvent });
    const names = access.plan.nodes.map(({ name }) => name);
    await access.kube().waitForNodes(names, { deadline: minutes(10), signal });
    tell(`cluster ${access.cluster.name}`, "all nodes Ready");
    return 0;
  });
}

function list(args: Arguments): number {
  const inForce = declared(kpiPaths().state).flatMap(({ at, owner, intent }) =>
    intent.kind === "fault" ? [{ cluster: intent.cluster, fault: intent.fault, at, pid: owner.pid }] : [],
  );
  if (flag(args, "json")) return line({ kinds: faultUsage, inForce });
  show(
    table(
      ["fault", "arguments", "what it does"],
      faultKinds.map((kind) => [kind, faultUsage[kind].words, faultUsage[kind].does]),
    ),
  );
  return show(
    inForce.length === 0
      ? "\nnone is in force"
      : `\nin force:\n${inForce.map((one) => `  ${describeFault(one.fault)} in cluster ${one.cluster}, since ${one.at}, by process ${one.pid}`).join("\n")}`,
  );
}

function readDuration(args: Arguments, otherwise: Duration): Duration {
  const given = text(args, "for");
  const found = given === undefined ? otherwise : parseDuration(given);
  if (found !== undefined && found > 0) return found;
  throw new KpiError("spec", `--for: ${JSON.stringify(given)} is no duration`, { expected: "such as 30s or 2m" });
}

function readSeed(args: Arguments): number {
  const given = text(args, "seed");
  if (given === undefined) return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
  if (/^\d{1,10}$/.test(given) && Number(given) <= largestSeed) return Number(given);
  throw new KpiError("spec", `--seed: ${JSON.stringify(given)} is none`, {
    expected: `a whole number from 0 to ${largestSeed}`,
  });
}

const line = (value: unknown): number => show(JSON.stringify(value));

/** Breaking a cluster on purpose. */
export const faultCommands: Readonly<Record<string, Command>> = {
  fault: {
    summary: "break a running cluster on purpose, and heal it",
    more: [
      "kpi fault WHAT ARGUMENTS inflicts one fault, heals it when --for is over, and waits until all nodes are Ready:",
      "",
      ...faultKinds.map((kind) => `  ${`${kind} ${faultUsage[kind].words}`.padEnd(30)} ${faultUsage[kind].does}`),
      "",
      "kpi fault random inflicts a random schedule of them; the same seed gives the same schedule on the same cluster.",
      "Ctrl-C heals. What a killed one left in force is healed by the next command. An offset into the past is written",
      "after a double dash: kpi fault set-clock NODE -- -10m. For clusters in a lab only.",
    ].join("\n"),
    positionals: ["[WHAT]", "[ARGUMENT]", "[ARGUMENT]", "[ARGUMENT]"],
    tail: "[-- ARGUMENT]",
    options: {
      lab,
      cluster,
      for: { type: "string", value: "TIME", help: "how long (30s; random: 2m)" },
      seed: { type: "string", value: "N", help: "of a random schedule; one is chosen and printed otherwise" },
      "dry-run": { type: "boolean", help: "print a random schedule and do nothing" },
      list: { type: "boolean", help: "the kinds of faults, and which are in force" },
      json: { ...json, help: "one JSON object a line" },
    },
    run: fault,
  },
};
