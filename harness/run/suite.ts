import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Duration } from "../core/duration.ts";
import { type KpiPaths, projectRoot } from "../core/paths.ts";
import { run } from "../tools/exec.ts";
import { clusterNames } from "./cluster.ts";
import { BunOutput, type BunTest, otherTest } from "./bun-output.ts";
import { coldVariable, openSuiteRecord, suiteDir, suiteVariable } from "./suite-record.ts";
import { writeSuiteResults } from "./suite-results.ts";

/** How many tests a part of the suite ran, by outcome. */
export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** A part of the suite: its name and the program that runs it. */
interface Part {
  readonly name: string;
  readonly command: readonly string[];
  /** A program that is one check: its exit code is the verdict. Otherwise it is a bun test run and its closing lines are read. */
  readonly single?: boolean;
  /** Uses clusters that outlive it; those that it made are removed afterwards, so that what follows has the machine for itself. */
  readonly shared?: boolean;
}

const bun = join(projectRoot, "node_modules", ".bin", "bun");
const units = ["harness", "packer", "cloud-init", "terraform-libvirt", "fixtures"];

/** Specs that only `kpi test --all` runs, and why; the closing line counts each as skipped. */
const long: Readonly<Record<string, string>> = {
  "breaking.spec.ts": "forty-eight breakages of a fork, about five minutes in emulation",
  "budget.spec.ts": "two boots on a machine that does nothing else, about two minutes in emulation",
  "faults.spec.ts": "eleven faults on a fork, three boots among them, about nine minutes in emulation",
  "gate.spec.ts": "three clusters that must fail, about four minutes in emulation",
  "crash.spec.ts": "five killed runs and two clusters, about six minutes in emulation",
  "killed.spec.ts": "a suite inside of a suite, whose cluster is broken meanwhile, two to three minutes in emulation",
  "pair.spec.ts": "another cluster beside the shared one, about three minutes in emulation",
  "rebuild.spec.ts": "one node made twice, about four minutes in emulation",
  "resilience.spec.ts": "seven forks, broken and healed, about fifteen minutes in emulation",
};

export interface SuiteOptions {
  readonly unitOnly: boolean;
  /** The long specs as well. */
  readonly all: boolean;
  /** Shared clusters are made from nothing, even where a checkpoint fits. */
  readonly cold: boolean;
  /** Files, as bun test takes them; empty means everything. */
  readonly filter: readonly string[];
  readonly paths: KpiPaths;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

/** Everything that `kpi test` runs. The machine is made ready first, because the tests use its real tools; then what is quick. */
function parts({ unitOnly, all, filter }: SuiteOptions): Part[] {
  const checks: Part[] = [
    { name: "machine", command: [join(projectRoot, "kpi"), "doctor", "lab", "--fix"], single: true },
    { name: "types", command: [bun, "check"], single: true },
    {
      name: "format",
      command: [
        bun,
        "fmt",
        "--check",
        "harness",
        "specs",
        "packer",
        "cloud-init",
        "terraform-libvirt",
        "docs",
        "README.md",
      ],
      single: true,
    },
  ];
  const unit: Part = { name: "unit tests", command: [bun, "test", "--parallel", ...units] };
  const files = specFiles().filter((file) => all || long[file] === undefined);
  const specs = (name: string, shared: boolean): Part => {
    const some = files.filter((file) => sharesCluster(file) === shared);
    return { name, shared, command: [bun, "test", ...some.map((file) => `./specs/${file}`)] };
  };
  if (filter.length > 0) return [{ name: filter.join(" "), command: [bun, "test", ...filter] }];
  if (unitOnly) return [...checks, unit];
  return [...checks, unit, specs("specs of one cluster", true), specs("specs with clusters of their own", false)];
}

const sharesCluster = (file: string): boolean =>
  readFileSync(join(projectRoot, "specs", file), "utf8").includes("useCluster(");

const specFiles = () => [...new Bun.Glob("*.spec.ts").scanSync(join(projectRoot, "specs"))].sort();

/** Runs the suite, showing the tests' own output, and returns the sum. The caller prints the closing line. */
export async function runSuite(options: SuiteOptions): Promise<Tally> {
  let sum: Tally = { passed: 0, failed: 0, skipped: 0 };
  using record = openSuiteRecord(suiteDir(options.paths.state));
  const began = new Date();
  const there = clusterNames(options.paths.state);
  const tests: BunTest[] = [];
  for (const part of parts(options)) {
    options.say(`── ${part.name}`);
    const [command = "", ...args] = part.command;
    const lines: string[] = [];
    const output = new BunOutput();
    const ran = run(command, args, {
      cwd: projectRoot,
      // On GitHub bun would write annotations of its own, and headings that nobody else reads.
      env: { [suiteVariable]: record.dir, GITHUB_ACTIONS: "", ...(options.cold ? { [coldVariable]: "1" } : {}) },
      signal: options.signal,
      accept: [0, 1, 2],
      onLine(line) {
        lines.push(line);
        if (part.single !== true) output.line(line);
        options.say(line);
      },
    });
    // Whatever comes of it, an interrupt too.
    const { code, elapsed } = part.shared === true ? await ran.finally(() => removeNew(there, options)) : await ran;
    const tally = part.single === true ? single(code) : readTally(lines, code);
    sum = add(sum, tally);
    tests.push(...(part.single === true ? [check(part.name, code, elapsed, lines)] : listed(part.name, output, tally)));
  }
  if (!options.all && !options.unitOnly && options.filter.length === 0) {
    for (const [file, reason] of Object.entries(long)) {
      const why = `${reason}; kpi test --all runs it`;
      options.say(`skipped: specs/${file}: ${why}`);
      tests.push(otherTest(`specs/${file}`, "(the whole file)", "skipped", { why }));
    }
    sum = add(sum, { passed: 0, failed: 0, skipped: Object.keys(long).length });
  }
  const { paths, say } = options;
  await writeSuiteResults({ record, tests, began, paths, say, trace: true });
  return sum;
}

/** Removes the clusters that were not there before. */
async function removeNew(there: readonly string[], { paths, say }: SuiteOptions): Promise<void> {
  for (const name of clusterNames(paths.state).filter((each) => !there.includes(each))) {
    say(`── removing cluster ${name}`);
    await run(join(projectRoot, "kpi"), ["down", name], { onLine: say });
  }
}

const check = (name: string, code: number, elapsed: Duration, lines: readonly string[]): BunTest =>
  otherTest("kpi test", name, code === 0 ? "passed" : "failed", {
    elapsed,
    details: code === 0 ? [] : lines.slice(-40),
  });

/** The tests that bun named one by one; when they are not as many as it counted, that is one more failure. */
function listed(part: string, { tests }: BunOutput, counted: Tally): readonly BunTest[] {
  const found = tally(tests);
  if (found === closingLine(counted)) return tests;
  const details = [`error: bun's sum and its lines differ`, `sum: ${closingLine(counted)}`, `lines: ${found}`];
  return [...tests, otherTest("kpi test", `${part}: every test is accounted for`, "failed", { details })];
}

function tally(tests: readonly BunTest[]): string {
  const count = (outcome: BunTest["outcome"]) => tests.filter((test) => test.outcome === outcome).length;
  return closingLine({ passed: count("passed"), failed: count("failed"), skipped: count("skipped") });
}

const single = (code: number): Tally => ({ passed: code === 0 ? 1 : 0, failed: code === 0 ? 0 : 1, skipped: 0 });
const add = (a: Tally, b: Tally): Tally => ({
  passed: a.passed + b.passed,
  failed: a.failed + b.failed,
  skipped: a.skipped + b.skipped,
});

/**
 * Reads bun's closing lines (`12 pass`, `1 fail`, `2 skip`, `1 error`). A run that ended badly without a counted failure, or that
 * counted nothing at all, is one failure: a suite that cannot fail proves nothing.
 */
export function readTally(lines: readonly string[], code: number): Tally {
  const count = (word: string) => {
    const pattern = new RegExp(`^\\s*(\\d+) ${word}s?$`);
    return lines.reduce((found, line) => Number(pattern.exec(line)?.[1] ?? found), 0);
  };
  const passed = count("pass");
  const failed = Math.max(count("fail"), count("error")); // bun counts an error outside of a test as both
  const silent = failed === 0 && (code !== 0 || passed === 0);
  return { passed, failed: silent ? 1 : failed, skipped: count("skip") + count("todo") };
}

/** The suite's last line: `N passed, N failed`, and `, N skipped` where there are any. */
export function closingLine({ passed, failed, skipped }: Tally): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}
