import { afterAll, expect, test } from "bun:test";
import { appendFileSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Plan } from "../core/plan.ts";
import type { Access } from "./access.ts";
import { RunLog } from "./log.ts";
import { watchNodes } from "./watch.ts";

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
