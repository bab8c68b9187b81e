import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ClusterState, ClusterDir, clusterNames } from "./cluster.ts";

const state = mkdtempSync(join(tmpdir(), "kpi-cluster-"));
afterAll(() => rmSync(state, { recursive: true, force: true }));

test("whoever asks for something of a cluster that is removed does not bring it back", () => {
  const cluster = new ClusterDir(state, "gone");
  cluster.write({ phase: "making" } as ClusterState);
  expect(clusterNames(state)).toEqual(["gone"]);
  cluster.remove();
  expect(existsSync(cluster.path("secrets", "token"))).toBe(false);
  expect(cluster.read()).toBeUndefined();
  expect(clusterNames(state)).toEqual([]);
});
