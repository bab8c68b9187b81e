import { readFileSync, statSync } from "node:fs";
import { availableParallelism } from "node:os";
import { basename, join } from "node:path";
import { type Duration, minutes } from "../core/duration.ts";
import { KpiError, renderError } from "../core/errors.ts";
import { type Environment, type KpiPaths, projectRoot } from "../core/paths.ts";
import { run } from "../tools/exec.ts";
import { bun, bunTest } from "./bun.ts";
import { pathOf } from "./choice.ts";
import { BunOutput, type BunTest, otherTest, testFile } from "./bun-output.ts";
import { reap } from "./reap.ts";
import {
  coldVariable,
  longVariable,
  openSuiteRecord,
  ownSuite,
  passingVariable,
  suiteDir,
  suiteVariable,
} from "./suite-record.ts";
import { writeSuiteResults } from "./suite-results.ts";
import { makeTestDirectory } from "./test-directory.ts";
import { takeTurn } from "./turn.ts";
import { passing } from "./users.ts";

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
  /** Uses clusters that would outlive it; those that it made go with it, so that what follows has the machine for itself. */
  readonly shared?: boolean;
}

/** Compiled as k3s-lab's `build` compiles: what one has compiled the other need not. */
const goTest = [
  ...["env", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off", "go", "test", "-C", join(projectRoot, "fixtures", "k3s-lab")],
  ...["-trimpath", "-buildvcs=false", "-vet=off", "-tags=providerless,netgo,osusergo", "./internal/..."],
];
const units = ["harness", "packer", "cloud-init", "terraform-libvirt", "fixtures"];

export interface SuiteOptions {
  readonly unitOnly: boolean;
  /** The long specs as well. */
  readonly all: boolean;
  /** Shared clusters are made from nothing, even where a checkpoint fits. */
  readonly cold: boolean;
  /** What {@link chooseFiles} gives; none means everything. */
  readonly files: readonly string[];
  /** Only tests whose title has this regular expression, as `bun test -t` takes it. */
  readonly title?: string | undefined;
  readonly paths: KpiPaths;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

/** Everything that `kpi test` runs. The machine is made ready first, because the tests use its real tools; then what is quick. */
function parts({ unitOnly, files, title }: SuiteOptions): Part[] {
  const chosen = title === undefined ? [] : ["-t", title];
  if (files.length > 0 || title !== undefined) {
    const name = [...files.map((file) => basename(file)), ...chosen].join(" ");
    return [{ name, command: [...bunTest, ...chosen, ...files] }];
  }
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
    { name: "shell", command: ["shellcheck", ...scripts()], single: true },
  ];
  // One more than there are cores: some wait for what they have started. Loading everything anew for each file took a quarter of their CPU.
  const sideBySide = [`--parallel=${availableParallelism() + 1}`, "--no-isolate"];
  const unit: Part = { name: "unit tests", command: [...bunTest, ...sideBySide, ...units] };
  const lab: Part = { name: "tests of k3s-lab", command: goTest, single: true };
  if (unitOnly) return [...checks, unit];
  const bySpec = Map.groupBy(specFiles(), sharedSpec);
  const specs = [...bySpec].map(([spec, names]): Part => {
    const command = [...bunTest, ...names.map((name) => `./specs/${name}`)];
    const shared = spec !== undefined;
    return {
      name: shared ? `specs that share a cluster of ${spec}` : "specs with clusters of their own",
      shared,
      command,
    };
  });
  return [...checks, unit, lab, ...specs.sort((a, b) => Number(b.shared) - Number(a.shared))];
}

/** The cluster spec that a spec file shares with others; undefined where it makes its own clusters. */
function sharedSpec(file: string): string | undefined {
  const text = readFileSync(join(projectRoot, "specs", file), "utf8");
  return /useCluster\("([^"]+)"\)/.exec(text)?.[1];
}

/** Everything that a shell runs, whatever its name: it says so in its first line. */
function scripts(): string[] {
  const within = (place: string) =>
    [...new Bun.Glob("**/*").scanSync(join(projectRoot, place))].map((name) => join(projectRoot, place, name));
  const files = [join(projectRoot, "kpi"), ...[...units, "specs", "docs", ".ci"].flatMap(within)];
  return files.filter((path) => /^#!.*sh\n/.test(readFileSync(path, "utf8").slice(0, 80))).sort();
}

/**
 * The tests asked for, as absolute paths: files, directories, or names of specs without their ending. Throws a `spec` error for what is
 * none, because bun would take it for a part of any test's path.
 */
export function chooseFiles(given: readonly string[]): readonly string[] {
  return given.map((name) => {
    const path = pathOf(name, ".spec.ts");
    const found = statSync(path, { throwIfNoEntry: false });
    if (found?.isDirectory() === true || (found !== undefined && testFile.test(path))) return path;
    throw new KpiError("spec", `test: ${JSON.stringify(name)} ${found === undefined ? "is not there" : "is no test"}`, {
      expected: `a .test.ts or .spec.ts file, a directory, or one of ${specFiles()
        .map((file) => basename(file, ".spec.ts"))
        .join(", ")}`,
      hint: "kpi test --help",
    });
  });
}

const specFiles = () => [...new Bun.Glob("*.spec.ts").scanSync(join(projectRoot, "specs"))].sort();

/** A suite that has ended. */
export interface SuiteEnd {
  readonly tally: Tally;
  /** Where its results are. */
  readonly dir: string;
}

/** Whether it is all that `kpi test` runs, and no part of another suite that has its turn. */
const isWhole = ({ files, title, unitOnly }: SuiteOptions): boolean =>
  files.length === 0 && title === undefined && !unitOnly && ownSuite() === undefined;

/** Runs the suite, showing the tests' own output. The caller prints the closing line. */
export async function runSuite(options: SuiteOptions): Promise<SuiteEnd> {
  const { paths, say, signal } = options;
  using _turn = isWhole(options) ? await takeTurn({ cache: paths.cache, signal, say }) : undefined;
  let sum: Tally = { passed: 0, failed: 0, skipped: 0 };
  using record = openSuiteRecord(suiteDir(paths.state));
  using temporary = makeTestDirectory(paths.state);
  const began = new Date();
  const tests: BunTest[] = [];
  const staying = new Set<string>();
  for (const part of parts(options)) {
    say(`── ${part.name}`);
    const env = {
      [suiteVariable]: record.dir,
      TMPDIR: temporary.path,
      GITHUB_ACTIONS: "", // bun would write annotations of its own, and headings that nobody else reads
      ...(options.cold ? { [coldVariable]: "1" } : {}),
      ...(part.shared === true ? { [passingVariable]: "1" } : {}),
      ...(options.all || options.files.length === 0 ? { [longVariable]: options.all ? "1" : "0" } : {}),
    };
    // Whatever comes of it, an interrupt too, what it left goes.
    const ran = await runPart(part, { env, signal, say }).finally(() => tidy(options, staying));
    sum = add(sum, ran.tally);
    tests.push(...ran.tests);
  }
  await writeSuiteResults({ record, tests, began, paths, say, trace: true });
  return { tally: sum, dir: record.dir };
}

/** A part that has ended: its tests, and how many there were. */
interface PartEnd {
  readonly tally: Tally;
  readonly tests: readonly BunTest[];
}

/**
 * Runs a part, showing what it prints. One that cannot be started, or crashes, is one failed test more, so that the suite goes on to its
 * results; an interrupt is thrown.
 */
export async function runPart(
  { name, command: [command = "", ...args], single: isSingle = false }: Part,
  { env, signal, say }: { readonly env: Environment } & Pick<SuiteOptions, "signal" | "say">,
): Promise<PartEnd> {
  const lines: string[] = [];
  const output = new BunOutput();
  const running = run(command, args, {
    cwd: projectRoot,
    env,
    tied: true,
    signal,
    grace: minutes(1), // it removes its forks, and what it has made in clusters that go on
    accept: [0, 1, 2],
    onLine(line) {
      lines.push(line);
      if (!isSingle) output.line(line);
      say(line);
    },
  });
  const ended = await running.catch((error: unknown) => {
    if (error instanceof KpiError && error.kind === "command") return error;
    throw error;
  });
  if (ended instanceof KpiError) {
    say(renderError(ended));
    const details = [`error: ${ended.what}`, ...(isSingle ? lines : ended.details).slice(-40)];
    const tests = [...output.tests, otherTest("kpi test", name, "failed", { details })];
    return { tally: tallyOf(tests), tests };
  }
  if (isSingle) return { tally: single(ended.code), tests: [check(name, ended.code, ended.elapsed, lines)] };
  const tally = readTally(lines, ended.code);
  return { tally, tests: listed(name, output, tally) };
}

/**
 * What a part has left goes: the shared clusters that it made, and, of one that was stopped, its forks for instance. That a cluster
 * stays is said once. Throws nothing: it is what comes after an error as well.
 */
async function tidy({ paths, say }: SuiteOptions, staying: Set<string>): Promise<void> {
  try {
    await reap(paths, (line) => say(`── removed ${line}`));
    for (const { cluster, users } of passing(paths.state)) {
      const who = users.map(({ pid }) => pid).join(", ") || "another kpi";
      const told = `── cluster ${cluster.name} stays until process ${who} ends, which uses it`;
      if (!staying.has(told)) say(told);
      staying.add(told);
    }
  } catch (error) {
    say(`── not all that is left could be removed: ${renderError(error)}`);
  }
}

const check = (name: string, code: number, elapsed: Duration, lines: readonly string[]): BunTest =>
  otherTest("kpi test", name, code === 0 ? "passed" : "failed", {
    elapsed,
    details: code === 0 ? [] : lines.slice(-40),
  });

/** The tests that bun named one by one; when they are not as many as it counted, that is one more failure. */
function listed(part: string, { tests }: BunOutput, counted: Tally): readonly BunTest[] {
  const found = closingLine(tallyOf(tests));
  if (found === closingLine(counted)) return tests;
  const details = [`error: bun's sum and its lines differ`, `sum: ${closingLine(counted)}`, `lines: ${found}`];
  return [...tests, otherTest("kpi test", `${part}: every test is accounted for`, "failed", { details })];
}

function tallyOf(tests: readonly BunTest[]): Tally {
  const count = (outcome: BunTest["outcome"]) => tests.filter((test) => test.outcome === outcome).length;
  return { passed: count("passed"), failed: count("failed"), skipped: count("skipped") };
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
