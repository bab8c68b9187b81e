import { afterEach, beforeEach, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KpiError } from "../core/errors.ts";
import type { Host, Plan } from "../core/plan.ts";
import { configurationOf } from "../tools/terraform-files.ts";
import { writeWhole } from "../tools/whole-file.ts";
import { ClusterDir } from "./cluster.ts";
import { unmakeAfter } from "./down.ts";
import { declare, declared } from "./journal.ts";
import { makeWay } from "./replacement.ts";

let state: string;
let cluster: ClusterDir;
beforeEach(() => {
  state = mkdtempSync(join(tmpdir(), "replacement-"));
  cluster = new ClusterDir(state, "one");
});
afterEach(() => rmSync(state, { recursive: true, force: true }));

const elsewhere: Host = { kind: "libvirt", uri: "qemu:///system" };
const first = new KpiError("command", "the first cause");

/** A cluster that this machine remembers. */
function remember(host: Host): void {
  const plan = { cluster: "one", host, nodes: [] } as unknown as Plan;
  cluster.write({ plan, spec: "one", phase: "ready", run: "one", image: "", since: "" });
}

/** Such a cluster whose Terraform state cannot be destroyed: no terraform is there that could. */
function stuck(): void {
  remember(elsewhere);
  writeWhole(join(configurationOf(cluster.path("terraform")), "terraform.tfstate"), '{ "resources": [{}] }');
}

test("what is replaced goes, and nothing that was declared of it is left to be unmade later", async () => {
  remember({ kind: "lab" });
  mkdirSync(cluster.labDir, { recursive: true });
  declare(state, { kind: "cluster", cluster: "one", host: elsewhere }); // by one that could not unmake it
  declare(state, { kind: "cluster", cluster: "two", host: elsewhere });
  await makeWay(cluster, () => {});
  expect([existsSync(cluster.dir), existsSync(cluster.labDir)]).toEqual([false, false]);
  expect(declared(state).map(({ intent }) => intent)).toEqual([{ kind: "cluster", cluster: "two", host: elsewhere }]);
});

test("what cannot be removed stays declared, on the host that it is on", async () => {
  stuck();
  const said: string[] = [];
  const error = await makeWay(cluster, (line) => said.push(line)).catch((error: unknown) => error);
  expect(error).toBeInstanceOf(Error);
  expect(said).toEqual([expect.stringContaining("could not be removed, kpi reap tries again")]);
  expect(declared(state).map(({ intent }) => intent)).toEqual([{ kind: "cluster", cluster: "one", host: elsewhere }]);
  expect(cluster.exists()).toBe(true);
});

test("after a failure all is unmade and settled; what cannot be unmade is tried again, and the first cause counts", async () => {
  remember({ kind: "lab" });
  const begun = () => declare(state, { kind: "cluster", cluster: "one", host: { kind: "lab" } });
  expect(await unmakeAfter(first, cluster, begun())).toBe(first);
  expect([cluster.exists(), declared(state)]).toEqual([false, []]);

  stuck();
  const told = await unmakeAfter(first, cluster, begun());
  expect(told).toMatchObject({
    what: first.what,
    details: [expect.stringMatching(/^the clean-up failed as well: .*; kpi reap tries again$/)],
  });
  expect(declared(state)).toHaveLength(1);
});
