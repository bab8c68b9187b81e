import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Access,
  ClusterDir,
  type Fault,
  forThisProcess,
  knownBinary,
  markInUse,
  minutes,
  nodeFaults,
  openAccess,
  passing,
  projectRoot,
  readEvents,
  run,
  seconds,
  testKpi,
} from "../harness/kit.ts";
import { askingTwice, holdingObjects, printed } from "./inner-suites.ts";
import { killed } from "./killed.ts";
import { expectReady, labCheckpoint } from "./lab-checkpoint.ts";
import { leaksOf } from "./leaks.ts";

// What becomes of a cluster that runs: one, gone on with from its checkpoint, to which all of this is done.
setDefaultTimeout(minutes(10));
const worker = "k3s-worker-01";
const kpi = testKpi({ checkpoints: true });
const dir = mkdtempSync(join(tmpdir(), "kpi-running-"));
afterAll(async () => {
  await kpi[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true, force: true });
});

const file = join(dir, "inner.spec.ts");
const told = join(dir, "killed");

/** bun test as a user calls it, on this file's cluster: a suite of its own, also inside of one. */
const bunTest = (args: readonly string[], options: Parameters<typeof run>[2]) => {
  const of = { KPI_STATE: kpi.state, KPI_CACHE: kpi.cache, TMPDIR: kpi.temporary, KPI_SUITE: "", NO_COLOR: "1" };
  const bun = join(projectRoot, "node_modules", ".bin", "bun");
  return run(bun, ["test", ...args], {
    ...{ cwd: projectRoot, timeout: minutes(3) },
    ...options,
    env: { ...of, ...options?.env },
  });
};

let access: Access;
let suites: readonly { readonly code: number; readonly stderr: string }[];
let since: number;
beforeAll(async () => {
  await labCheckpoint(kpi);
  since = Date.now();
  // Both find no cluster, and begin to make one, as parts of kpi test do.
  const asked = { accept: [0, 1], env: { KPI_PASSING: "1" } };
  const suite = () => bunTest(["./specs/network.spec.ts", "-t", "static address"], asked);
  suites = await Promise.all([suite(), suite()]);
  const cluster = new ClusterDir(kpi.state, "kpi");
  markInUse(cluster);
  ({ access } = await openAccess(cluster));
}, minutes(30));

test("two suites at once: one makes the cluster, the other waits for it, and both judge it", () => {
  for (const { code, stderr } of suites) expect(code, printed(stderr)).toBe(0);
  const made = suites.filter(({ stderr }) => /kpi: [\d.]+m?s warm: started/.test(stderr));
  expect(made.length, "suites that made it").toBe(1);
});

test("a cluster that a suite made for itself is removed when nobody uses it any more; one for which a person asks stays", async () => {
  expect(passing(kpi.state).map(({ cluster }) => cluster.name)).toEqual(["kpi"]);
  expect((await kpi.succeed(["reap"])).stdout, "while this test uses it").not.toContain("cluster kpi");
  await kpi.succeed(["up", "lab"], { env: forThisProcess() });
  expect(passing(kpi.state), "asked for by a suite").toHaveLength(1);
  expect((await kpi.succeed(["up", "lab"])).stdout).toContain("is running and unchanged");
  expect(passing(kpi.state), "asked for by a person").toEqual([]);
});

test("from the checkpoint it goes on", async () => {
  const events = readEvents(join(access.cluster.runsDir, access.cluster.read()?.run ?? ""));
  expect(events.find((event) => event.type === "stage-ended" && event.stage === "warm")).toMatchObject({
    outcome: "passed",
  });
  expect(events.some((event) => event.type === "stage-started" && event.stage === "apply")).toBe(false);
  await expectReady(kpi, "kpi", since);
  // The checkpoint tells what the k3s on each node is, so nobody who asks has to wait until the node has hashed it.
  for (const { name } of access.plan.nodes) expect(knownBinary(access.cluster, name)?.sha256).toMatch(/^[0-9a-f]{64}$/);
});

test.each([
  // The longer one first: nodes that have just stood still may have to be saved twice.
  { at: /reading back/, looked: true },
  { at: /saving memory and disks/, looked: false },
])(
  "a checkpoint of it that is killed at $at is not there, and the nodes go on; it has looked at a k3s that nobody knew: $looked",
  async ({ at, looked }) => {
    rmSync(access.cluster.path("binaries", `${worker}.json`), { force: true });
    const checkpoints = () => readdirSync(join(kpi.cache, "checkpoints")).sort();
    const before = checkpoints();
    const asked = Date.now();
    expect(await killed(kpi, ["checkpoint", "kpi"], at)).toContain("half a checkpoint of cluster kpi");
    expect(checkpoints()).toEqual(before);
    const same = knownBinary(access.cluster, "k3s-worker-02")?.sha256;
    expect(knownBinary(access.cluster, worker)?.sha256).toBe(looked ? same : undefined);
    const domains = JSON.parse((await kpi.succeed(["labs", "--json"])).stdout)[0].domains;
    expect(Object.values(domains)).toEqual(["running", "running", "running"]);
    await kpi.succeed(["kubectl", "wait", "node", "--all", "--for=condition=Ready", "--timeout=60s"]);
    const { stdout } = await kpi.succeed(["ssh", "k3s-worker-02", "--", "date +%s"]);
    expect(Number(stdout) * 1_000).toBeGreaterThan(asked - 1_000);
  },
);

test("a paused machine: the claim on domains fails, and names it", async () => {
  await using fault = await nodeFaults(access, "k3s-worker-02").freeze();
  // Nobody waits for a node that cannot answer.
  await expect(access.ssh("k3s-worker-02", { deadline: minutes(1) })).rejects.toThrow("k3s-worker-02 is paused");
  const { code, stderr } = await bunTest(["./specs/idempotence.spec.ts", "-t", "every planned domain"], {
    accept: [0, 1],
  });
  await fault.heal();
  await access.kube().waitForNodes(
    access.plan.nodes.map(({ name }) => name),
    { deadline: minutes(3) },
  );
  expect(code, printed(stderr)).toBe(1);
  expect(stderr).toMatch(/-\s+"k3s-worker-02": "running",\n\+\s+"k3s-worker-02": "paused"/);
  expect(stderr, "where it stands").toMatch(/ at \S+\/specs\/idempotence\.spec\.ts:\d+:\d+$/m);
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
  let work: readonly { readonly name: string; readonly cluster: string; readonly outcome: string }[] = [];
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
    ({ claims, work } = JSON.parse(readFileSync(join(suite, "results.json"), "utf8")));
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
    expect(said, "where it is").toContain(`\nevidence: ${evidence}\n`);
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

  test("the looks that were taken for the claims are told, too", () => {
    expect(work.map(({ name, cluster, outcome }) => [name, cluster, outcome]).sort()).toEqual([
      ["look at network", "kpi", "passed"],
      ["look at ready", "kpi", "passed"],
    ]);
  });

  test("the closing line and junit.xml count the same", () => {
    expect(said.trim().split("\n").at(-1)).toBe("6 passed, 2 failed");
    const junit = readFileSync(join(suite, "junit.xml"), "utf8");
    expect(junit).toMatch(/<testsuites .*tests="8" failures="2" errors="0">/);
    expect(junit).toMatch(new RegExp(`<failure type="claim" message="${worker}: k3s-agent has (stopped|failed)">`));
  });
});

test("a suite that shares it is killed while its pods and an object of a claim are there: the next command removes them", async () => {
  /** What there is of the suite's in the cluster and is not on its way out. */
  const left = async () => {
    const paths = ["/api/v1/namespaces", "/api/v1/namespaces/default/configmaps"];
    const lists = await Promise.all(paths.map((path) => access.kube().request(path)));
    const objects = lists.flatMap(({ text }) => JSON.parse(text).items as { metadata: Record<string, string> }[]);
    return objects.flatMap(({ metadata: { name = "", deletionTimestamp } }) =>
      /^(kpi-spec-|held$)/.test(name) && deletionTimestamp === undefined ? [name.replace(/-\w{8}$/, "")] : [],
    );
  };
  const held = join(dir, "held.spec.ts");
  writeFileSync(held, holdingObjects);
  await expect(bunTest([held], { accept: [] })).rejects.toThrow("was ended by SIGKILL");
  expect(await left()).toEqual(["kpi-spec", "held"]);
  const { stdout } = await kpi.succeed(["reap"]);
  expect(stdout).toMatch(/removed Namespace kpi-spec-\w{8} in cluster kpi, left by process \d+/);
  expect(stdout).toMatch(/removed ConfigMap default\/held in cluster kpi, left by process \d+/);
  expect(await left()).toEqual([]);
});

test("down in the middle of a suite: the suite ends at once, says so, and nothing is left", async () => {
  const down = Promise.withResolvers<number>();
  const onLine = (line: string) => {
    if (line !== "… kpi: look at storage") return;
    const gone = kpi.succeed(["down", "kpi"]);
    down.resolve(gone.then(() => performance.now()));
  };
  const { code, stderr } = await bunTest(["./specs/storage.spec.ts", "-t", "the volume"], { accept: [1], onLine });
  const ended = performance.now();
  expect(ended - (await down.promise)).toBeLessThan(seconds(20));
  expect(code, printed(stderr)).toBe(1);
  expect(stderr.match(/^claim: lab kpi has ended$/gm)?.length, "claims that say why").toBe(2);
  expect(stderr).not.toContain("KpiError"); // whatever else complains does it in words
  await kpi.succeed(["reap"]); // what the suite had in it may still be declared: the API goes before the lab
  expect(leaksOf(kpi)).toEqual([]);
});
