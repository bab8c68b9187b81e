import { afterAll, expect, test } from "bun:test";
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Plan } from "../core/plan.ts";
import type { Access } from "./access.ts";
import { RunLog } from "./log.ts";
import { awaitReady, watchNodes } from "./watch.ts";

const dir = mkdtempSync(join(tmpdir(), "watch-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** A cluster in a lab whose libvirt has nothing to say. */
const silent = {
  lab: {},
  libvirt: {
    async *events(signal: AbortSignal) {
      await new Promise((done) => signal.addEventListener("abort", done, { once: true }));
    },
  },
} as unknown as Access;

test("where a console's lines cannot be written down, the steps of all nodes fail for that reason, and nothing else does", async () => {
  const runs = join(dir, "runs");
  mkdirSync(join(runs, "one"), { recursive: true });
  symlinkSync("/dev/full", join(runs, "one", "events.ndjson")); // opens like any file, and has no room
  using log = new RunLog("one", runs, []);
  const plan = { nodes: [{ name: "n1" }, { name: "n2" }] } as unknown as Plan;
  const consoles = join(dir, "consoles");
  using watching = watchNodes(silent, plan, consoles, (body) => log.emit(body));
  const steps = ["n1", "n2"].map((node) => watching.nodes.step(node, "dns", new AbortController().signal));
  const ends = Promise.allSettled(steps);
  appendFileSync(join(consoles, "n1.log"), "Linux version 6.12\n");
  const full = { status: "rejected", reason: { code: "ENOSPC" } };
  expect(await ends).toMatchObject([full, full]);
});

test.each([
  ["v1.34.3+k3s1", "n1"],
  ["v1.34.2+k3s1", "n1 is Ready in another version"],
])("a node that is Ready as %s, where v1.34.3+k3s1 is planned: %s", async (kubeletVersion, wanted) => {
  const kube = {
    watchNodes(onChange: (nodes: unknown[]) => void) {
      onChange([{ name: "n1", ready: true, kubeletVersion }]);
      return new Promise<never>(() => {});
    },
  };
  const plan = { nodes: [{ name: "n1" }], k3s: { version: "v1.34.3+k3s1" } };
  const ready = awaitReady({ plan, kube: () => kube } as unknown as Access, () => {}, new AbortController().signal);
  const seen = await ready.then(
    (nodes) => nodes.map(({ name }) => name).join(),
    (error: Error) => error.message,
  );
  expect(seen).toContain(wanted);
});
