import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { KpiError } from "../core/errors.ts";
import { kpiPaths } from "../core/paths.ts";
import { bundle } from "../run/bundle.ts";
import { chooseSpec } from "../run/choice.ts";
import { blocking, renderDoctor, runDoctor } from "../run/doctor.ts";
import { applyFixes, describeFixes } from "../run/doctor-fix.ts";
import { imagesJson, makeImage, renderImages } from "../run/image.ts";
import { interruptible } from "../run/interrupt.ts";
import { reap } from "../run/reap.ts";
import { chooseFiles, closingLine, runSuite } from "../run/suite.ts";
import { listImages } from "../supplies/image.ts";
import { inspectSupplies, loadLock, pinSupply, renderSupplies } from "../supplies/supplies.ts";
import { type Arguments, type Command, cluster, flag, host, json, parseHost, show, text } from "./command.ts";

async function doctor(args: Arguments): Promise<number> {
  return interruptible(async (signal) => {
    const paths = kpiPaths();
    const { plan } = await chooseSpec(args.positionals[0], parseHost(text(args, "host")), paths, signal);
    let { checks, facts } = await runDoctor({ plan, paths, signal });
    if (flag(args, "fix")) {
      const planned = describeFixes(checks);
      for (const line of planned) process.stderr.write(`kpi: doing: ${line}\n`);
      if (planned.length > 0) {
        await applyFixes(checks, {
          facts,
          signal,
          onProgress: ({ what }) => void process.stderr.write(`kpi: ${what}\n`),
        });
        ({ checks, facts } = await runDoctor({ plan, paths, signal }));
      }
    }
    show(flag(args, "json") ? JSON.stringify(checks, null, 2) : renderDoctor(checks));
    return blocking(checks).length === 0 ? 0 : 1;
  });
}

async function supplies(args: Arguments): Promise<number> {
  return interruptible(async (signal) => {
    const [verb, ...names] = args.positionals;
    const context = { lock: await loadLock(), cache: kpiPaths().cache, signal };
    if (verb === undefined) {
      const views = await inspectSupplies(context);
      return show(flag(args, "json") ? JSON.stringify(views, null, 2) : renderSupplies(views, Date.now()));
    }
    if (verb !== "pin" || names.length === 0)
      throw new KpiError("spec", `supplies: ${JSON.stringify(args.positionals.join(" "))} is no request`, {
        expected: "kpi supplies, or kpi supplies pin NAME...",
      });
    for (const name of names) {
      const pins = await pinSupply(name, {
        ...context,
        onProgress: (_name, { what }) => void process.stderr.write(`kpi: ${what}\n`),
      });
      for (const pin of pins) show(`${pin.sha256}  ${pin.url}${pin.known ? " (was pinned already)" : ""}`);
    }
    return 0;
  });
}

async function image(args: Arguments): Promise<number> {
  return interruptible(async (signal) => {
    const paths = kpiPaths();
    if (flag(args, "rebuild")) {
      const { plan } = await chooseSpec(args.positionals[0], parseHost(text(args, "host")), paths, signal);
      await makeImage({
        plan,
        paths,
        rebuild: true,
        signal,
        say: (line) => void process.stderr.write(`kpi: ${line}\n`),
      });
    }
    const images = listImages(paths.cache);
    return show(flag(args, "json") ? JSON.stringify(imagesJson(images), null, 2) : renderImages(images));
  });
}

/** Commands about this machine, what the pipeline needs, and what runs left. */
export const machineCommands: Readonly<Record<string, Command>> = {
  doctor: {
    summary: "what this machine lacks, why it matters, and the fix as a command",
    more: "Exit code 1 while something that is needed is missing or wrong.",
    positionals: ["[SPEC]"],
    options: { host, fix: { type: "boolean", help: "apply the fixes that kpi may apply" }, json },
    run: doctor,
  },
  supplies: {
    readOnly: true,
    summary: "what the pipeline needs from outside, where it came from, its hash",
    more: "kpi supplies pin NAME... fetches upstream files whose hash is not known yet and records it in the lock file.",
    positionals: ["[pin]", "[NAME...]"],
    options: { json },
    run: supplies,
  },
  image: {
    summary: "the node images that are there: packages, size, digest, build time",
    more: "The image is made when it is needed and known by the digest of everything that went into it.",
    positionals: ["[SPEC]"],
    options: { host, rebuild: { type: "boolean", help: "build the image of SPEC, even if it is there" }, json },
    run: image,
  },
  bundle: {
    summary: "one archive with everything needed to understand a failure",
    options: { cluster, out: { type: "string", value: "FILE", help: "where (default: ./kpi-bundle.tar.gz)" } },
    run: (args) =>
      interruptible(async (signal) => {
        const out = resolve(text(args, "out") ?? "kpi-bundle.tar.gz");
        return show(await bundle(kpiPaths().state, text(args, "cluster"), out, signal));
      }),
  },

  reap: {
    readOnly: true,
    summary: "remove what killed runs left",
    more: "Exit code 1 while something stays that was left; it is said what, and the next command tries again.",
    options: { json },
    async run(args) {
      const { removed, stays } = await reap(kpiPaths());
      if (flag(args, "json")) show(JSON.stringify({ removed, stays }));
      else if (removed.length + stays.length === 0) show("nothing was left");
      else show([...removed.map((line) => `removed ${line}`), ...stays.map((line) => `stays ${line}`)].join("\n"));
      return stays.length === 0 ? 0 : 1;
    },
  },

  test: {
    readOnly: true,
    summary: "the unit tests, then the specs against real clusters",
    more: "FILE is a test file, a directory of such, or a file of specs/ without its ending, such as network.",
    positionals: ["[FILE...]"],
    options: {
      title: { type: "string", short: "t", value: "REGEXP", help: "only tests with such a title, as bun test -t" },
      unit: { type: "boolean", help: "the unit tests only" },
      all: { type: "boolean", help: "also the specs that take long; those that are left out are named" },
      cold: { type: "boolean", help: "make shared clusters from nothing, even where a checkpoint fits" },
      json: { type: "boolean", help: "results.json at the end; what the tests say goes to standard error" },
    },
    run: (args) =>
      interruptible(async (signal) => {
        const files = chooseFiles(args.positionals);
        const title = text(args, "title");
        if (flag(args, "unit") && (files.length > 0 || title !== undefined))
          throw new KpiError("spec", "--unit, and FILE or --title, both say what to run", { expected: "one of them" });
        const say = flag(args, "json") ? (line: string) => void process.stderr.write(`${line}\n`) : show;
        const { tally, dir } = await runSuite({
          unitOnly: flag(args, "unit"),
          all: flag(args, "all"),
          cold: flag(args, "cold"),
          ...{ files, title, paths: kpiPaths(), signal, say },
        });
        say(closingLine(tally));
        if (flag(args, "json")) show(readFileSync(join(dir, "results.json"), "utf8"));
        return tally.failed === 0 ? 0 : 1;
      }),
  },
};
