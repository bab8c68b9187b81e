import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Plan } from "../core/plan.ts";
import { labUri } from "../lab/launch.ts";
import { labLayout } from "../lab/layout.ts";
import { configurationOf, writeVariables } from "../tools/terraform-files.ts";
import { hostOf } from "./down.ts";
import { type ClusterState, ClusterDir, clusterNames } from "./cluster.ts";

const dir = mkdtempSync(join(tmpdir(), "kpi-cluster-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

const plan = { cluster: "gone", host: { kind: "lab" }, nodes: [] } as unknown as Plan;
const state: ClusterState = { plan, spec: "lab", phase: "ready", run: "one", image: "i", since: "now" };

test.each(["", "null", "[]", "{}", '{"phase":"ready","plan":{}}', '{"phase":"odd"}'])(
  "what is spoilt, or another version's, is named: %s",
  (text) => {
    const cluster = new ClusterDir(dir, "other");
    cluster.write(state);
    expect(cluster.read()).toEqual(state);
    writeFileSync(cluster.path("cluster.json"), text);
    expect(() => cluster.read()).toThrow(/cluster\.json (cannot be read|is not what this version of kpi writes)$/);
    cluster.remove();
  },
);

test("where a cluster runs whose state is spoilt, Terraform knows", () => {
  const cluster = new ClusterDir(dir, "spoilt");
  const said: string[] = [];
  const host = () => hostOf(cluster, (line) => said.push(line));
  cluster.write({ ...state, plan: { ...plan, host: { kind: "libvirt", uri: "qemu:///system" } } });
  expect(host()).toEqual({ kind: "libvirt", uri: "qemu:///system" });
  writeFileSync(cluster.path("cluster.json"), "{}");
  expect(host()).toEqual({ kind: "lab" }); // nothing was made
  const root = configurationOf(cluster.path("terraform"));
  mkdirSync(root, { recursive: true });
  writeVariables(root, { libvirt_uri: "qemu:///system" });
  expect(host()).toEqual({ kind: "libvirt", uri: "qemu:///system" });
  writeVariables(root, { libvirt_uri: labUri(labLayout(cluster.labDir)) });
  expect(host()).toEqual({ kind: "lab" });
  expect(said.length).toBe(3);
  cluster.remove();
});

test("whoever asks for something of a cluster that is removed does not bring it back", () => {
  const cluster = new ClusterDir(dir, "gone");
  cluster.write(state);
  expect(clusterNames(dir)).toEqual(["gone"]);
  cluster.remove();
  expect(existsSync(cluster.path("secrets", "token"))).toBe(false);
  expect(cluster.read()).toBeUndefined();
  expect(clusterNames(dir)).toEqual([]);
});
