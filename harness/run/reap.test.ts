import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { labMarker } from "../lab/process.ts";
import type { Host, Plan } from "../core/plan.ts";
import { start } from "../tools/exec.ts";
import { tryLock } from "../tools/owner.ts";
import { configurationOf } from "../tools/terraform-files.ts";
import { writeWhole } from "../tools/whole-file.ts";
import { ClusterDir } from "./cluster.ts";
import type { Intent } from "./journal.ts";
import { reap } from "./reap.ts";
import { speaking } from "./speaking.ts";

let paths: { state: string; cache: string };
beforeEach(() => {
  const dir = mkdtempSync(join(tmpdir(), "reap-"));
  paths = { state: join(dir, "state"), cache: join(dir, "cache") };
});
afterEach(() => rmSync(join(paths.state, ".."), { recursive: true, force: true }));

test("of a killed test goes its state directory, its labs, and whoever is still making a cluster there", async () => {
  const temporary = join(paths.state, "..", "temporary");
  const state = join(temporary, "state");
  const cluster = new ClusterDir(state, "one");
  // Each is in the journal under a random name, so that the state often comes last.
  const intents = [
    ...Array.from({ length: 8 }, () => ({ kind: "path", path: temporary })),
    { kind: "state", path: state },
  ];
  const declare = `declare(${JSON.stringify(paths.state)}, intent)`;
  const killed = await speaking(
    `const { declare } = await load("run/journal.ts"); for (const intent of ${JSON.stringify(intents)}) ${declare};`,
  );
  mkdirSync(cluster.dir, { recursive: true });
  // What stands for the lab's launcher is a process with the same words.
  const launcher = ["-c", "kill -STOP $$", "/x/harness/lab/init.sh", labMarker(cluster.labDir)];
  const lab = start("sh", launcher);
  const maker = await speaking(`(await load("tools/owner.ts")).tryLock(${JSON.stringify(cluster.lockPath)});`);
  expect((await reap(paths)).removed, "while it lives").toEqual([]);

  process.kill(killed.pid, "SIGKILL");
  await killed.done.catch(() => {}); // it ends by that signal
  const left = [expect.stringContaining(`the clusters in ${state}`), expect.stringContaining(`${temporary}, left by`)];
  expect((await reap(paths)).removed).toEqual(left);
  await Promise.allSettled([lab.done, maker.done]); // by themselves they would not end before this test's limit
  expect(existsSync(temporary), "its directory").toBe(false);
  expect(readdirSync(join(paths.state, "journal")), "the journal").toEqual([]);
});

test("a process that is told to end stops its programs, unmakes what it has declared, and makes nothing anew", async () => {
  const path = join(paths.state, "..", "file");
  const intents = [
    { kind: "path", path },
    { kind: "cluster", cluster: "one", host: { kind: "lab" } },
    { kind: "objects", cluster: "gone", objects: [] },
  ];
  const program = `
    const { onInterrupt } = await load("run/interrupt.ts");
    const { declare } = await load("run/journal.ts");
    const { start } = await load("tools/exec.ts");
    const { leave } = await load("kit/leave.ts");
    const state = ${JSON.stringify(paths.state)};
    for (const intent of ${JSON.stringify(intents)}) declare(state, intent);
    const sleeping = start("sleep", ["60"]);
    onInterrupt((why) => {
      void leave(why);
      try { declare(state, { kind: "path", path: "never" }); } catch (error) { console.log(error.message); }
    });
    console.log(sleeping.pid);`;
  const cluster = new ClusterDir(paths.state, "one");
  mkdirSync(cluster.dir, { recursive: true });
  mkdirSync(path);
  const told = await speaking(program, { env: { KPI_STATE: paths.state }, accept: [130] });
  process.kill(told.pid, "SIGINT");
  const { stdout, stderr } = await told.done;
  const [sleeping = "", , refused] = stdout.split("\n");
  expect(stderr).toContain("kpi: removed cluster one");
  expect(refused).toBe("interrupted by SIGINT");
  expect([existsSync(path), existsSync(cluster.dir), existsSync(`/proc/${sleeping}`)]).toEqual([false, false, false]);
  expect(readdirSync(join(paths.state, "journal")), "the journal").toEqual([]);
});

/** What a process that has ended declared. */
function left(id: string, intent: Intent): void {
  const owner = { pid: process.pid, start: 1, command: "up" };
  writeWhole(
    join(paths.state, "journal", `${process.pid}-1-${id}.json`),
    JSON.stringify({ id: `${process.pid}-1-${id}`, at: "", owner, intent }),
  );
}

/** A cluster that this machine remembers. */
function remembered(name: string, host: Host, nodes: readonly string[] = []): ClusterDir {
  const cluster = new ClusterDir(paths.state, name);
  const plan = { cluster: name, host, nodes: nodes.map((node) => ({ name: node })) } as unknown as Plan;
  cluster.write({ plan, spec: name, phase: "making", run: "one", image: "", since: "" });
  return cluster;
}

const lab: Host = { kind: "lab" };
const elsewhere: Host = { kind: "libvirt", uri: "qemu+ssh://nobody@hypervisor.invalid/system" };
const journal = () => readdirSync(join(paths.state, "journal"));

test("what cannot be removed stays declared, and keeps nothing else from being removed", async () => {
  // No terraform is there that could destroy it, and it is asked for on the host that it is on, whatever was declared.
  const stuck = remembered("stuck", elsewhere);
  writeWhole(join(configurationOf(stuck.path("terraform")), "terraform.tfstate"), '{ "resources": [{}] }');
  left("a", { kind: "cluster", cluster: "stuck", host: lab });
  const gone = remembered("gone", lab);
  left("b", { kind: "cluster", cluster: "gone", host: lab });
  left("c", { kind: "cluster", cluster: "gone", host: elsewhere });
  left("d", { kind: "cluster", cluster: "My_Fork", host: lab }); // no lab can be called so
  for (const name of ["lost+found", ".x", "orphan"]) mkdirSync(join(paths.state, "labs", name), { recursive: true });

  const removed = ["gone", "My_Fork"].map((name) => `cluster ${name}, left by process ${process.pid} (up)`);
  expect(await reap(paths)).toEqual({
    removed: [...removed, "lab orphan, which belongs to no cluster"],
    stays: ["cluster stuck"],
  });
  expect([stuck.exists(), gone.exists()]).toEqual([true, false]);
  expect(journal()).toEqual([`${process.pid}-1-a.json`]);
  expect(readdirSync(join(paths.state, "labs"))).toEqual([".x", "lost+found"]);
});

test("a cluster that another kpi is at work on is left to it", async () => {
  const cluster = remembered("held", lab);
  left("a", { kind: "cluster", cluster: "held", host: lab });
  const lock = tryLock(cluster.lockPath);
  if ("heldBy" in lock) throw new Error("it is nobody's");
  const stays = [expect.stringContaining(`cluster held: process ${process.pid} is at work on it: kpi `)];
  expect(await reap(paths)).toEqual({ removed: [], stays });
  expect([cluster.exists(), journal().length]).toEqual([true, 1]);
  lock.release();
  expect((await reap(paths)).removed).toHaveLength(1);
  expect([cluster.exists(), journal()]).toEqual([false, []]);
});

test("nodes that were being saved go on one after the other, each with its clock set; who cannot be told the time is told again", async () => {
  remembered("saved", { kind: "libvirt", uri: "test:///default" }, ["n1", "n2", "n3"]);
  left("a", { kind: "checkpoint", cluster: "saved", path: join(paths.cache, "half") });
  const bin = join(paths.state, "bin");
  const said = join(bin, "said");
  mkdirSync(bin);
  const states = ["'n3'\\n state.state=5", "'n2'\\n state.state=1", "'n1'\\n state.state=3"]; // off, running, paused
  writeFileSync(
    join(bin, "virsh"),
    `#!/bin/sh
    shift 3
    case $1 in
      domstats) printf '${states.map((state) => `Domain: ${state.replaceAll("'", "%s")}\\n`).join("")}' "'" "'" "'" "'" "'" "'" ;;
      *) echo "$1 $2" >>${said}; [ "$1 $2" != "qemu-agent-command n1" ] || [ -e ${bin}/answers ] || { echo "no answer" >&2; exit 1; } ;;
    esac`,
  );
  chmodSync(join(bin, "virsh"), 0o755);
  const path = process.env["PATH"];
  process.env["PATH"] = `${bin}:${path}`;
  try {
    const all = ["resume n1", "qemu-agent-command n1", "resume n2", "qemu-agent-command n2"];
    expect((await reap(paths)).removed).toEqual([]);
    expect(readFileSync(said, "utf8").trim().split("\n")).toEqual(all);
    expect(journal()).toHaveLength(1);
    writeFileSync(join(bin, "answers"), "");
    expect((await reap(paths)).removed).toEqual([
      `half a checkpoint of cluster saved, left by process ${process.pid} (up)`,
    ]);
    expect(readFileSync(said, "utf8").trim().split("\n")).toEqual([...all, ...all]);
    expect(journal()).toEqual([]);
  } finally {
    process.env["PATH"] = path;
  }
});
