import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { labMarker } from "../lab/process.ts";
import { start } from "../tools/exec.ts";
import { ClusterDir } from "./cluster.ts";
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
  expect(await reap(paths), "while it lives").toEqual([]);

  process.kill(killed.pid, "SIGKILL");
  await killed.done.catch(() => {}); // it ends by that signal
  const left = [expect.stringContaining(`the clusters in ${state}`), expect.stringContaining(`${temporary}, left by`)];
  expect(await reap(paths)).toEqual(left);
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
