import { afterAll, afterEach, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { coldRun, minutes, openCheckpoint, projectRoot, readRecord, run, shellQuote, testKpi } from "../harness/kit.ts";
import { holdingFork, printed } from "./inner-suites.ts";
import { killed } from "./killed.ts";
import { expectReady, labCheckpoint } from "./lab-checkpoint.ts";
import { leaksOf } from "./leaks.ts";

// Forks of the cluster of specs/lab.yaml. KPI_WARM_ROUNDS says how often it is measured, KPI_WARM_SOAK how many more are made.
setDefaultTimeout(minutes(60));
const rounds = Number(process.env["KPI_WARM_ROUNDS"] ?? 0);
const soak = Number(process.env["KPI_WARM_SOAK"] ?? 0);
const times = (count: number, variable: string) =>
  count === 0 ? `as often as KPI_WARM_${variable} says, which is not set` : `${count} times one after another`;
/** Two show it; three are nine machines, too many for two cores that have other things to do. */
const atOnce = rounds === 0 ? ["w1", "w2"] : ["w1", "w2", "w3"];

/** A cache of this file's own, by hard links: damaging a file of it replaces the link, so nobody else's checkpoint is touched. */
const dir = mkdtempSync(join(tmpdir(), "kpi-warm-"));
const shared = testKpi({ checkpoints: true });
const kpi = testKpi({ cache: join(dir, "cache"), checkpoints: true });
afterAll(async () => {
  await kpi[Symbol.asyncDispose]();
  await shared[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true, force: true });
});
/** What a test that failed has left is not the next one's. */
afterEach(() => kpi.removeClusters());

interface ForkJson {
  readonly name: string;
  readonly checkpoint: string;
  readonly took: number;
  readonly marks: readonly { readonly what: string; readonly at: number }[];
}
const fork = async (name: string): Promise<ForkJson> =>
  JSON.parse((await kpi.succeed(["fork", "kpi", "--as", name, "--json"])).stdout);
const down = (name: string) => kpi.succeed(["down", "--lab", name]);
const kubectl = async (lab: string, ...args: string[]) =>
  (await kpi.succeed(["kubectl", "--lab", lab, ...args])).stdout;
const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0;
/** What `kpi console` shows to a person at a terminal, who leaves by its key, Ctrl-]. */
async function consoleOf(lab: string): Promise<string> {
  const own = ["env", `KPI_STATE=${kpi.state}`, join(projectRoot, "kpi"), "console", "--lab", lab, "k3s-worker-01"];
  const keys = `until grep -q "Escape character\\|error:" "$0"; do sleep 0.1; done; printf "\\035"`;
  const script = `: > "$0"; { ${keys}; } | script --quiet --return --flush --command "$1" "$0"`;
  const options = { accept: [0, 1], timeout: minutes(1) };
  return (await run("sh", ["-c", script, join(dir, "console.txt"), shellQuote(own)], options)).stdout;
}
const manifest = () => openCheckpoint("kpi", { cache: kpi.cache, state: kpi.state }).stored;

/** How long it took this machine to make the cluster that was frozen, from Terraform's beginning to the last node's Ready, in milliseconds. */
function coldStart(): number {
  const { stages } = readRecord(coldRun(manifest().dir));
  const took = (name: string) => stages.find(({ stage }) => stage === name)?.elapsed ?? Number.NaN;
  return Math.round(took("apply") + took("ready"));
}

beforeAll(async () => {
  await labCheckpoint(shared);
  await run("cp", ["-al", shared.cache, kpi.cache]);
  const newest = manifest().manifest.id;
  for (const id of readdirSync(join(kpi.cache, "checkpoints")))
    if (id !== newest) rmSync(join(kpi.cache, "checkpoints", id), { recursive: true });
});

describe("a fork", () => {
  test.if(rounds > 0)(`${times(rounds, "ROUNDS")}: Ready with fresh leases in seconds`, async () => {
    const took: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const since = Date.now();
      const result = await fork("w0");
      took.push(result.took);
      console.log(`${result.took} ms: ${result.marks.map(({ what, at }) => `${what} ${at}`).join(", ")}`);
      await expectReady(kpi, "w0", since);
      await down("w0");
    }
    console.log(`median ${median(took)} ms, worst ${Math.max(...took)} ms; the cold start took ${coldStart()} ms`);
    expect(leaksOf(kpi)).toEqual([]);
    // For a machine that does nothing else: a suite has just done much.
    expect(median(took)).toBeLessThan(coldStart() / 10);
    expect(median(took)).toBeLessThanOrEqual(5_000);
    expect(Math.max(...took)).toBeLessThanOrEqual(8_000);
  });

  test("is Ready with fresh leases in a fraction of a cold start, is one of several, with the same addresses and a state of its own", async () => {
    const since = Date.now();
    const forks = await Promise.all(atOnce.map(fork));
    for (const { name, took, marks } of forks)
      console.log(`${name}: ${took} ms: ${marks.map(({ what, at }) => `${what} ${at}`).join(", ")}`);
    for (const name of atOnce) await expectReady(kpi, name, since);
    // They are made one after the other: the first waits for nobody.
    const first = Math.min(...forks.map(({ took }) => took));
    console.log(`the first took ${first} ms, the cold start ${coldStart()} ms`);
    expect(first).toBeLessThan(coldStart() / 5);
    await Promise.all(
      atOnce.map((name) => kubectl(name, "create", "configmap", "whose", `--from-literal=lab=${name}`)),
    );
    for (const name of atOnce) {
      expect(await kubectl(name, "get", "configmap", "whose", "-o", "jsonpath={.data.lab}")).toBe(name);
      const { stdout } = await kpi.succeed(["ssh", "--lab", name, "k3s-worker-01", "--", "hostname -I"]);
      expect(stdout).toContain("192.168.122.11");
    }
    expect(await consoleOf("w1")).toContain("Connected to domain 'k3s-worker-01'");
    const labs = JSON.parse((await kpi.succeed(["labs", "--json"])).stdout);
    expect(labs.map((lab: any) => [lab.name, lab.state, lab.phase, lab.checkpoint])).toEqual(
      atOnce.map((name) => [name, "running", "ready", forks[0]?.checkpoint]),
    );
    for (const lab of labs) console.log(`${lab.name}: ${lab.residentMiB} MiB`);
    const { stdout } = await kpi.succeed(["checkpoints", "--json"]);
    const own = (name: string) => /^w\d$/.test(name); // others on this machine may use the same checkpoint
    expect(JSON.parse(stdout)[0].labs.filter(own).sort()).toEqual(atOnce);
    await Promise.all(atOnce.map(down));
    expect(leaksOf(kpi)).toEqual([]);
  });

  test("whose disk becomes full is unmade at once, and says why", async () => {
    const full = join(dir, "full");
    mkdirSync(full);
    const script = [
      'mount -t tmpfs -o size=4m none "$KPI_STATE" || exit 3', // this program's own, and gone with it
      '(until [ -d "$KPI_STATE/clusters/w9/terraform" ]; do sleep 0.01; done; cat /dev/zero > "$KPI_STATE/filler") &',
      '"$@"',
      'echo "ended with $?"',
      'cd "$KPI_STATE" && find clusters labs journal -mindepth 1',
    ].join("\n");
    const fork = [join(projectRoot, "kpi"), "fork", "kpi", "--as", "w9"];
    const env = { KPI_STATE: full, KPI_CACHE: kpi.cache };
    const { stdout, stderr } = await run("unshare", ["--mount", "sh", "-c", script, "sh", ...fork], { env });
    expect(stderr).toMatch(/no space left on device/i);
    expect(stdout, "what is left of it").toBe("ended with 1");
  });

  test.if(soak > 0)(`${times(soak, "SOAK")}: nothing is left, and it gets no slower`, async () => {
    const took: number[] = [];
    const memory: number[] = [];
    for (let round = 0; round < soak; round += 1) {
      const since = Date.now();
      took.push((await fork("soak")).took);
      await expectReady(kpi, "soak", since);
      await down("soak");
      expect(leaksOf(kpi)).toEqual([]);
      const { stdout } = await run("awk", [
        "/^MemFree|^Cached/ {sum += $2} END {print int(sum/1024)}",
        "/proc/meminfo",
      ]);
      memory.push(Number(stdout));
      console.log(`${round + 1}: ${took.at(-1)} ms, ${stdout} MiB free or cache`);
    }
    const tenth = Math.max(1, Math.floor(soak / 5));
    expect(median(took.slice(-tenth))).toBeLessThan(1.3 * median(took.slice(0, tenth)));
    expect(median(memory.slice(-tenth))).toBeGreaterThan(median(memory.slice(0, tenth)) - 500);
  });
});

describe("a checkpoint is not used, and why is said", () => {
  /** Tries to fork; says what was said. Nothing may be left of the attempt, and nothing of it may have run. */
  async function refused(env: Record<string, string> = {}): Promise<string> {
    const { code, stderr } = await kpi.run(["fork", "kpi", "--as", "no"], { env });
    expect(code).toBe(1);
    expect(stderr).not.toContain("nodes run");
    expect(leaksOf(kpi)).toEqual([]);
    return stderr;
  }
  /** Tries to fork while a byte of a file of the checkpoint is another; says what was said. The file is a copy in place of the link. */
  async function refusedFlipped(path: string, part = 0.7): Promise<string> {
    const full = join(manifest().dir, path);
    copyFileSync(full, `${full}.own`);
    renameSync(`${full}.own`, full);
    const at = Math.floor(statSync(full).size * part);
    flip(full, at);
    try {
      return await refused();
    } finally {
      flip(full, at);
    }
  }

  test.each(["memory", "disk", "pool"])("a flipped byte: %s", async (kind) => {
    const { saved } = manifest().manifest;
    const domain = saved.domains.at(-1); // a worker: its files are smaller than the server's
    const path =
      { memory: domain?.memory, disk: domain?.disk, pool: join("pool", saved.pool.files[0] ?? "") }[kind] ?? "";
    expect(await refusedFlipped(path)).toContain(`is not used: ${path} is not what was saved`);
  });

  test("a flipped byte: the manifest", async () => {
    expect(await refusedFlipped("manifest.json", 0.1)).toContain("its manifest is not what was saved");
  });

  test("a missing file", async () => {
    const { dir: at, manifest: known } = manifest();
    const path = known.saved.domains[1]?.memory ?? "";
    renameSync(join(at, path), join(at, `${path}.away`));
    try {
      expect(await refused()).toContain(`is not used: ${path} is missing`);
    } finally {
      renameSync(join(at, `${path}.away`), join(at, path));
    }
  });

  test("another QEMU; --why says which input", async () => {
    const bin = join(dir, "bin");
    mkdirSync(bin);
    const real = Bun.which("qemu-system-x86_64") ?? "";
    writeFileSync(
      join(bin, "qemu-system-x86_64"),
      `#!/bin/sh\n[ "$1" = --version ] && { echo "QEMU emulator version 99.0"; exit; }\nexec ${real} "$@"\n`,
      { mode: 0o755 },
    );
    const env = { PATH: `${bin}:${process.env["PATH"]}` };
    expect(await refused(env)).toMatch(
      /is not used: qemu was QEMU emulator version \d+.*, is QEMU emulator version 99\.0/,
    );
    const { stdout } = await kpi.succeed(["checkpoint", "kpi", "--why"], { env });
    expect(stdout).toContain("qemu was");
  });

  test("a changed spec: up --warm says what differs and takes the cold path", async () => {
    const spec = join(dir, "other.yaml");
    writeFileSync(spec, `extends: ${join(projectRoot, "specs", "lab.yaml")}\nmachine: { memory: 1280MiB }\n`);
    const events: any[] = [];
    const up = await kpi.start(["up", spec, "--warm", "--json"], {
      onLine(line, from) {
        if (from !== "stdout") return;
        events.push(JSON.parse(line));
        if (events.at(-1).type === "stage-started" && events.at(-1).stage === "supplies")
          process.kill(up.pid, "SIGINT");
      },
    });
    expect((await up.done).code).toBe(130);
    const warm = events.find((event) => event.type === "stage-ended" && event.stage === "warm");
    expect(warm).toMatchObject({ outcome: "skipped" });
    expect(warm.why).toMatch(/plan was [0-9a-f]{12}, is [0-9a-f]{12}; the cold path is taken/);
    expect(events.some((event) => event.type === "stage-started" && event.stage === "doctor")).toBe(true);
    expect(leaksOf(kpi)).toEqual([]);
  });
});

test("Ctrl-C of a suite that holds a fork: it removes that itself, ends with 130, and nothing is left", async () => {
  const file = join(dir, "holding.spec.ts");
  writeFileSync(file, holdingFork);
  const suite = await kpi.start(["test", file], { env: { KPI_SUITE: "" } }); // a suite of its own, also inside of one
  const { code, stdout } = await suite.done;
  expect(code, printed(stdout)).toBe(130);
  expect(stdout).toMatch(/^kpi: removed cluster kpi-f1$/m);
  expect(leaksOf(kpi)).toEqual([]);
});

describe("SIGKILL", () => {
  const checkpoints = () => readdirSync(join(kpi.cache, "checkpoints")).sort();

  test.each([/lab is up/, /nodes run/])("of a fork at %p: reap leaves nothing", async (at) => {
    const before = checkpoints();
    expect(await killed(kpi, ["fork", "kpi", "--as", "dead"], at)).toContain("removed cluster dead");
    expect(leaksOf(kpi)).toEqual([]);
    expect(checkpoints()).toEqual(before);
    expect(manifest().dir).toContain(before.at(-1) ?? "");
  });

  test("of a test that holds a fork: the next command removes it", async () => {
    const held = join(dir, "held.ts");
    const kit = join(projectRoot, "harness", "kit.ts");
    writeFileSync(
      held,
      `import { openCheckpoint } from "${kit}";
       await using fork = await openCheckpoint("kpi").fork({ as: "held" });
       process.kill(process.pid, "SIGKILL");`,
    );
    const env = { KPI_STATE: kpi.state, KPI_CACHE: kpi.cache };
    await expect(run(process.execPath, [held], { env })).rejects.toThrow("SIGKILL");
    expect((await kpi.succeed(["reap"])).stdout).toContain("removed cluster held");
    expect(leaksOf(kpi)).toEqual([]);
  });
});

function flip(path: string, at: number): void {
  const file = openSync(path, "r+");
  const byte = Buffer.alloc(1);
  readSync(file, byte, 0, 1, at);
  byte[0] = (byte[0] ?? 0) ^ 1;
  writeSync(file, byte, 0, 1, at);
  closeSync(file);
}
