import { basename, join, resolve } from "node:path";
import { factorFor, renderFactor } from "../core/calibration.ts";
import { kpiPaths } from "../core/paths.ts";
import { calibrate } from "../lab/calibration.ts";
import { probeAccelerator } from "../lab/accelerator.ts";
import { renderTrace } from "../report/trace.ts";
import { ClusterDir, clusterNames } from "../run/cluster.ts";
import { interruptible } from "../run/interrupt.ts";
import { runDir } from "../run/run-files.ts";
import { collectIfRunning, readTraceSource } from "../run/trace.ts";
import { writeWhole } from "../tools/whole-file.ts";
import { type Arguments, type Command, flag, json, show, text } from "./command.ts";

const say = (line: string) => void process.stderr.write(`kpi: ${line}\n`);

async function calibrateMachine(args: Arguments): Promise<number> {
  return interruptible(async (signal) => {
    const { cache } = kpiPaths();
    const accelerator = await probeAccelerator({ cache, signal });
    const calibration = await calibrate({ cache, accelerator, force: flag(args, "force"), signal, onStep: say });
    const factors = Object.fromEntries([1, 2, 3].map((guests) => [guests, factorFor(calibration, guests)]));
    if (flag(args, "json")) return show(JSON.stringify({ ...calibration, factors }, null, 2));
    return show(
      [
        renderFactor(calibration, factorFor(calibration, 3)).replace(/; budgets.*/, ""),
        `measured   ${calibration.at} with ${calibration.qemu} on ${calibration.cpu}, ${calibration.cores} cores`,
        `one round  ${calibration.runs.join(", ")} µs of CPU time; ${calibration.reference} µs on the reference hypervisor`,
        `budgets    ${Object.entries(factors)
          .map(([guests, factor]) => `x ${factor.toFixed(1)} with ${guests} ${guests === "1" ? "node" : "nodes"}`)
          .join(", ")}`,
      ].join("\n"),
    );
  });
}

async function traceRun(args: Arguments): Promise<number> {
  return interruptible(async (signal) => {
    const { state } = kpiPaths();
    // A later run may have found the cluster unchanged, and has nothing to tell.
    const [only, ...others] = clusterNames(state);
    const made = only === undefined || others.length > 0 ? undefined : new ClusterDir(state, only).read()?.run;
    const dir = runDir(state, text(args, "run"), made);
    const out = resolve(text(args, "out") ?? join(dir, "trace.json"));
    say(`asking the nodes of ${basename(dir)}, if they still run`);
    const missing = await collectIfRunning(state, dir, signal);
    const trace = renderTrace([readTraceSource(dir)]);
    writeWhole(out, trace);
    const { otherData, traceEvents } = JSON.parse(trace) as {
      otherData: { guests: unknown[] };
      traceEvents: { ph: string }[];
    };
    const events = traceEvents.filter(({ ph }) => ph !== "M").length;
    if (flag(args, "json"))
      return show(JSON.stringify({ trace: out, events, guests: otherData.guests, missing }, null, 2));
    for (const line of missing) say(`not in the trace: ${line}`);
    return show(`${out}: ${events} events; open it at ui.perfetto.dev or chrome://tracing`);
  });
}

/** Commands that measure: the machine, and what happened when in a run. */
export const measureCommands: Readonly<Record<string, Command>> = {
  calibrate: {
    readOnly: true,
    summary: "how fast this machine runs guests, and so by how much budgets stretch",
    more: "Measured once for each accelerator, QEMU and CPU, in a few seconds, and kept; up does it when it is not known yet.",
    options: { force: { type: "boolean", help: "measure again, best on a quiet machine" }, json },
    run: calibrateMachine,
  },
  trace: {
    readOnly: true,
    summary: "everything that happened in a run, on one clock, for Perfetto or chrome://tracing",
    options: {
      run: { type: "string", value: "ID", help: "which run (default: what made the only cluster, else the newest)" },
      out: { type: "string", value: "FILE", help: "where (default: trace.json in the run's directory)" },
      json,
    },
    run: traceRun,
  },
};
