import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { picksTitle, testArguments } from "../harness/kit/look-ahead.ts";
import { kpiPaths, minutes, projectRoot, run } from "../harness/kit.ts";

setDefaultTimeout(minutes(5));

/** Readers that know nothing of kpi: JUnit by junitparser (PyPI), traces by the engine of Chrome's own performance panel (npm). */
const junitparser = "junitparser==5.0.3";
const traceEngine = "@paulirish/trace_engine@0.0.65";
const parserReads = "junitparser reads junit.xml and counts the same";
const engineReads = "the engine of Chrome's performance panel reads trace.json whole";

const dir = mkdtempSync(join(tmpdir(), "kpi-results-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));
const readers = join(kpiPaths().cache, "readers");

/** Puts a reader into the cache once, unless its test is filtered out; why not, when its registry is out of reach. */
async function install(
  test: string,
  name: string,
  commands: readonly (readonly string[])[],
): Promise<string | undefined> {
  const there = join(readers, name.replaceAll(/[^\w.-]+/g, "-"), "installed");
  if (existsSync(there) || !picksTitle(testArguments(), test)) return undefined;
  mkdirSync(join(there, ".."), { recursive: true, mode: 0o700 });
  try {
    for (const [program = "", ...args] of commands)
      await run(program, args, { cwd: join(there, ".."), timeout: minutes(2) });
    writeFileSync(there, "");
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}
const home = (name: string) => join(readers, name.replaceAll(/[^\w.-]+/g, "-"));
const noParser = await install(`results ${parserReads}`, junitparser, [
  ["python3", "-m", "venv", "venv"],
  ["venv/bin/pip", "--quiet", "install", junitparser],
]);
const noEngine = await install(`results ${engineReads}`, traceEngine, [
  ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", ".", traceEngine],
]);
for (const why of [noParser, noEngine]) if (why !== undefined) console.log(`skipped: a reader cannot be had: ${why}`);

/** A suite of our own with every outcome, run as a user runs it, and what it left. */
const state = join(dir, "state");
let suite = "";
let closing = "";
beforeAll(async () => {
  const file = join(dir, "outcomes.test.ts");
  writeFileSync(
    file,
    `import { expect, test } from "bun:test";
import { cpSync } from "node:fs";
// A run to draw, as a kpi of the suite's own leaves it there.
test("passes", () => cpSync("fixtures/recorded/run", process.env["KPI_SUITE"] + "/runs/recorded", { recursive: true }));
test("fails", () => { expect("10.0.0.9/24").toBe("192.168.122.11/24"); });
test.concurrent("fails beside others", async () => { await 0; expect("<a> & b").toBe("c"); });
test.concurrent("passes beside others", async () => {});
test.skip("is skipped", () => {});
`,
  );
  const env = { KPI_STATE: state, KPI_SUITE: "", GITHUB_ACTIONS: "true" }; // a suite of its own, also inside of one
  const { stdout } = await run(join(projectRoot, "kpi"), ["test", file], { env, accept: [1], timeout: minutes(2) });
  closing = stdout;
  suite = join(state, "suites", readdirSync(join(state, "suites"))[0] ?? "");
});

const results = () => JSON.parse(readFileSync(join(suite, "results.json"), "utf8"));

describe("results", () => {
  test("the closing line, results.json and bun agree", () => {
    expect(closing.trim().split("\n").at(-1)).toBe("2 passed, 2 failed, 1 skipped");
    expect(results().totals).toEqual({ passed: 2, failed: 2, blocked: 0, skipped: 1 });
    expect(closing).toMatch(/^ 2 fail$/m);
  });

  test("the host is described, and a run's stages have raw time, factor and scaled budget", () => {
    const { host, runs } = results();
    expect(Object.keys(host)).toEqual(["cpu", "cpus", "kernel", "libvirt", "load", "memoryMiB", "qemu"]);
    const boot = runs[0].stages.find(({ stage }: { stage: string }) => stage === "boot");
    expect(boot.elapsedMs).toBeGreaterThan(0);
    expect([boot.budgetMs, boot.factor, boot.scaledBudgetMs, boot.within]).toEqual([90_000, 1, 90_000, true]);
  });

  test("GitHub is told of failures at their own lines", () => {
    const annotations = closing.split("\n").filter((line) => line.startsWith("::"));
    expect(annotations).toHaveLength(2);
    expect(annotations[0]).toMatch(/^::error file=.*outcomes\.test\.ts,line=5,title=fails::.*%0A/);
  });

  test.skipIf(noParser !== undefined)(parserReads, async () => {
    const script = `
import json, sys
from junitparser import JUnitXml
xml = JUnitXml.fromfile(sys.argv[1])
kinds = [[type(result).__name__ for result in case.result] or ["Passed"] for suite in xml for case in suite]
flat = [kind for case in kinds for kind in case]
print(json.dumps({"cases": len(kinds), "tests": xml.tests, "failures": xml.failures, "errors": xml.errors,
  **{kind: flat.count(kind) for kind in ("Passed", "Failure", "Error", "Skipped")}}))
`;
    const python = join(home(junitparser), "venv", "bin", "python");
    const { stdout } = await run(python, ["-c", script, join(suite, "junit.xml")]);
    expect(JSON.parse(stdout)).toEqual({
      ...{ cases: 5, tests: 5, failures: 2, errors: 0 },
      ...{ Passed: 2, Failure: 2, Error: 0, Skipped: 1 },
    });
  });

  test.skipIf(noEngine !== undefined)(engineReads, async () => {
    const script = `
import { readFileSync } from "node:fs";
globalThis.DOMRect = class { constructor(x, y, width, height) { Object.assign(this, { x, y, width, height }); } };
const { Processor } = await import("@paulirish/trace_engine");
const engine = Processor.TraceProcessor.createWithAllHandlers();
await engine.parse(JSON.parse(readFileSync(process.argv[2], "utf8")).traceEvents, {});
const { Meta, Renderer } = engine.data;
const threads = [...Renderer.processes.values()].flatMap(({ threads }) => [...threads.values()]);
console.log(JSON.stringify({
  processes: [...Meta.processNames.values()].map(({ args }) => args.name),
  threads: [...Meta.threadsInProcess.values()].reduce((sum, each) => sum + each.size, 0),
  spans: threads.reduce((sum, { entries }) => sum + entries.length, 0),
}));
process.exit(0);
`;
    const reader = join(home(traceEngine), "read.mjs");
    writeFileSync(reader, script);
    const { stdout } = await run("node", [reader, join(suite, "trace.json")]);
    const events: { ph: string; name: string; args: { name: string } }[] = JSON.parse(
      readFileSync(join(suite, "trace.json"), "utf8"),
    ).traceEvents;
    const read = JSON.parse(stdout.split("\n").at(-1) ?? "");
    const named = (what: string) => events.filter(({ ph, name }) => ph === "M" && name === what);
    expect(read.processes.sort()).toEqual(
      named("process_name")
        .map(({ args }) => args.name)
        .sort(),
    );
    expect(read.processes).toEqual(expect.arrayContaining(["harness", "terraform", "claims", "node k3s-cp-01"]));
    expect(read.threads).toBe(named("thread_name").length);
    expect(read.spans).toBe(events.filter(({ ph }) => ph === "X").length);
  });
});
