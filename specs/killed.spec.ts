import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Access,
  ClusterDir,
  type Fault,
  minutes,
  nodeFaults,
  openAccess,
  projectRoot,
  run,
  testKpi,
} from "../harness/kit.ts";
import { askingTwice } from "./inner-suites.ts";

setDefaultTimeout(minutes(10));
const worker = "k3s-worker-01";
const kpi = testKpi();
afterAll(() => kpi[Symbol.asyncDispose]());

const file = join(kpi.temporary, "running.spec.ts");
const told = join(kpi.temporary, "killed");

let access: Access;
beforeAll(async () => {
  await kpi.succeed(["up", "lab", "--warm"]);
  ({ access } = await openAccess(new ClusterDir(kpi.state, "kpi")));
}, minutes(10));

test("a paused machine: the claim on domains fails, and names it", async () => {
  const bun = join(projectRoot, "node_modules", ".bin", "bun");
  const args = ["test", "./specs/idempotence.spec.ts", "-t", "every planned domain"];
  const env = { KPI_STATE: kpi.state, KPI_SUITE: "", NO_COLOR: "1" }; // a suite of its own, also inside of one
  await using fault = await nodeFaults(access, "k3s-worker-02").freeze();
  // Nobody waits for a node that cannot answer.
  await expect(access.ssh("k3s-worker-02", { deadline: minutes(1) })).rejects.toThrow("k3s-worker-02 is paused");
  const { code, stderr } = await run(bun, args, { cwd: projectRoot, env, accept: [0, 1], timeout: minutes(3) });
  await fault.heal();
  await access.kube().waitForNodes(
    access.plan.nodes.map(({ name }) => name),
    { deadline: minutes(3) },
  );
  expect(code, stderr).toBe(1);
  expect(stderr).toMatch(/-\s+"k3s-worker-02": "running",\n\+\s+"k3s-worker-02": "paused"/);
});

describe("k3s is killed on a worker in the middle of a suite", () => {
  interface Claim {
    readonly title: string;
    readonly outcome: string;
    readonly error: { readonly what: string; readonly details?: readonly string[] } | null;
    readonly attachments: readonly string[];
  }
  let fault: Fault | undefined;
  afterAll(() => fault?.heal(), minutes(3));
  let code = -1;
  let said = "";
  let tookAfterwards = Number.POSITIVE_INFINITY;
  let suite = "";
  let claims: readonly Claim[] = [];
  const claim = (title: string) => claims.find((each) => each.title === title);

  beforeAll(async () => {
    writeFileSync(file, askingTwice(told));
    const asked = new Set<string>();
    const all = Promise.withResolvers<void>();
    const running = await kpi.start(["test", file], {
      env: { KPI_SUITE: "" }, // a suite of its own, also inside of one
      onLine(line) {
        const [, node] = /^asked (\S+)$/.exec(line) ?? [];
        if (node !== undefined && asked.add(node).size === 3) all.resolve();
      },
    });
    const early = running.done.then(({ stdout, stderr }) => {
      throw new Error(`the suite ended before k3s was killed:\n${stdout}\n${stderr}`);
    });
    early.catch(() => {}); // it ends afterwards, too
    await Promise.race([all.promise, early]);
    fault = await nodeFaults(access, worker).killUnit();
    const from = performance.now();
    writeFileSync(told, "");
    ({ code, stdout: said } = await running.done);
    tookAfterwards = performance.now() - from;
    suite = join(kpi.state, "suites", readdirSync(join(kpi.state, "suites")).sort().at(-1) ?? "");
    ({ claims } = JSON.parse(readFileSync(join(suite, "results.json"), "utf8")) as { claims: readonly Claim[] });
  }, minutes(10));

  test("the suite ends by itself, soon, and fails", () => {
    expect(code).toBe(1);
    expect(tookAfterwards).toBeLessThan(minutes(1));
  });

  test("the claim on that node fails, and says which unit of which node is not running any more, and how it ended", () => {
    const failed = claim(`k3s goes on (${worker})`);
    expect(failed?.outcome).toBe("failed");
    expect(failed?.error?.what).toMatch(new RegExp(`^${worker}: k3s-agent has (stopped|failed)$`));
    expect(failed?.error?.details?.join("\n")).toMatch(/code=killed, status=9\/KILL/);
  });

  test("what its node, libvirt and API said lies beside it", () => {
    const [evidence = ""] = claim(`k3s goes on (${worker})`)?.attachments ?? [];
    const journal = readFileSync(join(evidence, worker, "journal.log"), "utf8");
    expect(journal).toMatch(/k3s-agent\.service: Main process exited, code=killed, status=9\/KILL/);
  });

  test("the claims on the other nodes go on, and hold", () => {
    expect(claims.filter(({ outcome }) => outcome === "passed").map(({ title }) => title)).toEqual([
      "it has its name (k3s-cp-01)",
      "it has its name (k3s-worker-01)",
      "it has its name (k3s-worker-02)",
      "all are Ready",
      "k3s goes on (k3s-cp-01)",
      "k3s goes on (k3s-worker-02)",
    ]);
  });

  test("the guard names the unit that changed", () => {
    const guard = claim("the shared cluster is left as it was");
    expect(guard?.outcome).toBe("failed");
    expect(guard?.error?.details?.join("\n")).toMatch(/^k3s-worker-01: units: k3s-agent:\d+ became nothing$/m);
    expect(guard?.error?.details).toHaveLength(1);
  });

  test("the closing line and junit.xml count the same", () => {
    expect(said.trim().split("\n").at(-1)).toBe("6 passed, 2 failed");
    const junit = readFileSync(join(suite, "junit.xml"), "utf8");
    expect(junit).toMatch(/<testsuites .*tests="8" failures="2" errors="0">/);
    expect(junit).toMatch(new RegExp(`<failure type="claim" message="${worker}: k3s-agent has (stopped|failed)">`));
  });
});
