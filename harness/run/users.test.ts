import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Plan } from "../core/plan.ts";
import { type Process, processStart, thisProcess, tryLock } from "../tools/owner.ts";
import { ClusterDir, type ClusterState } from "./cluster.ts";
import { reap } from "./reap.ts";
import { speaking } from "./speaking.ts";
import { forThisProcess, markInUse, otherUsers, passing, worksFor } from "./users.ts";

let paths: { state: string; cache: string };
beforeEach(() => {
  const dir = mkdtempSync(join(tmpdir(), "users-"));
  paths = { state: join(dir, "state"), cache: join(dir, "cache") };
});
afterEach(() => rmSync(join(paths.state, ".."), { recursive: true, force: true }));

const dead: Process = { pid: process.pid, start: 1 };

/** A cluster that is Ready, without a lab. */
function made(name: string, goesWith?: Process): ClusterDir {
  const cluster = new ClusterDir(paths.state, name);
  const plan = { cluster: name, host: { kind: "lab" }, nodes: [] } as unknown as Plan;
  const state: ClusterState = { plan, spec: name, phase: "ready", run: "one", image: "", since: "" };
  cluster.write(goesWith === undefined ? state : { ...state, goesWith });
  return cluster;
}

/** Another process that uses a cluster until it is killed. */
const user = ({ stateDir, name }: ClusterDir) =>
  speaking(`
    const { markInUse } = await load("run/users.ts");
    const { ClusterDir } = await load("run/cluster.ts");
    markInUse(new ClusterDir(${JSON.stringify(stateDir)}, ${JSON.stringify(name)}));`);

test("a cluster goes when the process for which it was made has ended; others stay", async () => {
  const [passed, living, own] = [made("passed", dead), made("living", thisProcess()), made("own")];
  expect((await reap(paths)).removed).toEqual([`cluster passed, made for process ${dead.pid}`]);
  expect([passed, living, own].map((cluster) => cluster.exists())).toEqual([false, true, true]);
});

test("it stays as long as somebody else uses it", async () => {
  const cluster = made("passed", dead);
  const other = await user(cluster);
  expect(passing(paths.state)).toMatchObject([
    { maker: dead, users: [{ pid: other.pid, start: processStart(other.pid) }] },
  ]);
  expect((await reap(paths)).removed).toEqual([]);
  process.kill(other.pid, "SIGKILL");
  await other.done.catch(() => {}); // it ends by that signal
  expect((await reap(paths)).removed).toHaveLength(1);
  expect(existsSync(cluster.dir)).toBe(false);
});

test("it stays as long as another kpi is at work on it", async () => {
  const cluster = made("passed", dead);
  using lock = tryLock(cluster.lockPath) as Disposable;
  expect(lock).not.toHaveProperty("heldBy");
  expect((await reap(paths)).removed).toEqual([]);
  expect(cluster.exists()).toBe(true);
});

test("this process does not count itself, forgets who has ended, and makes no cluster by using one", async () => {
  const cluster = made("own");
  markInUse(cluster);
  const other = await user(cluster);
  expect(otherUsers(cluster)).toHaveLength(1);
  process.kill(other.pid, "SIGKILL");
  await other.done.catch(() => {}); // it ends by that signal
  expect(otherUsers(cluster)).toEqual([]);
  markInUse(cluster);
  expect(readdirSync(cluster.path("users")), "who is written down").toHaveLength(1);
  const gone = new ClusterDir(paths.state, "gone");
  markInUse(gone);
  expect(existsSync(gone.dir)).toBe(false);
});

test("who has a cluster made for itself says so, and a person does not", () => {
  expect(worksFor(forThisProcess())).toEqual(thisProcess());
  expect(worksFor({})).toBeUndefined();
});
