import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { minutes, run, testKpi } from "../harness/kit.ts";
import { PrivateCache } from "./cache.ts";
import { leaksOf } from "./leaks.ts";
import { singleNodeSpec } from "./single-node.ts";

setDefaultTimeout(minutes(30));
const dir = mkdtempSync(join(tmpdir(), "kpi-crash-"));
/** Everything but the image is there, so that the image build can be killed. */
const cache = new PrivateCache();
const kpi = testKpi({ cache: cache.path });
beforeAll(() => cache.fill(["images"]));
afterAll(async () => {
  await kpi[Symbol.asyncDispose]();
  cache[Symbol.dispose]();
  rmSync(dir, { recursive: true, force: true });
});

const spec = singleNodeSpec(dir, "crash");

/** Where `up` is killed: at the first event of which this is true. */
const points: Record<string, (event: any) => boolean> = {
  "image build": (event) =>
    event.type === "progress" && event.stage === "image" && /provision|boot|ssh|waiting/i.test(event.what),
  apply: (event) => event.type === "progress" && event.stage === "apply",
  boot: (event) => event.type === "node" && event.state === "booting",
  install: (event) => event.type === "verdict" && event.verdict.step === "artefact",
  ready: (event) => event.type === "node" && event.state === "Ready",
};

const staged = async () => (await run("find", [kpi.cache, "-name", "*staging*"])).stdout;

test.each(Object.keys(points))("SIGKILL of up at %s leaves nothing after reap", async (point) => {
  let killed = false;
  const up = await kpi.start(["up", spec, "--json"], {
    onLine(line, from) {
      if (from !== "stdout" || points[point]?.(JSON.parse(line)) !== true) return;
      killed = process.kill(up.pid, "SIGKILL"); // kpi's shell has exec'd into bun: this is the harness itself
    },
  });
  const ended = await up.done.then(({ code }) => `up ended with exit code ${code}`, String);
  expect(killed, ended).toBe(true);
  const before = leaksOf(kpi);
  // Of the cluster nothing is made before its image is there.
  if (point === "image build") expect(await staged()).not.toBe("");
  else expect(before).not.toEqual([]);
  if (["boot", "install", "ready"].includes(point)) expect(before).toContain("process qemu-system-x86");
  const { stdout } = await kpi.succeed(["reap"]);
  expect(stdout).toContain("removed");
  expect(leaksOf(kpi)).toEqual([]);
  expect(await staged()).toBe("");
});

test("a following up succeeds, and Ctrl-C of the next one unmakes all with exit 130", async () => {
  await kpi.succeed(["up", spec]);
  expect((await kpi.succeed(["kubectl", "get", "nodes", "-o", "name"])).stdout).toBe("node/k3s-cp-01");
  const again = await kpi.start(["rebuild", spec, "--json"], {
    onLine(line, from) {
      if (from === "stdout" && points["boot"]?.(JSON.parse(line))) process.kill(again.pid, "SIGINT");
    },
  });
  expect((await again.done).code).toBe(130);
  expect(leaksOf(kpi)).toEqual([]);
});
