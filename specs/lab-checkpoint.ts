import { expect } from "bun:test";
import type { TestKpi } from "../harness/kit.ts";

const nodes = ["k3s-cp-01", "k3s-worker-01", "k3s-worker-02"];

/** Has a checkpoint of the cluster of specs/lab.yaml in the cache of this kpi, which keeps checkpoints. Where one fits, that is it; else one cold start. */
export async function labCheckpoint(kpi: TestKpi): Promise<void> {
  const why = await kpi.run(["checkpoint", "kpi", "--why", "--json"]);
  if (why.code === 0 && JSON.parse(why.stdout).fits === true) return;
  await kpi.succeed(["up", "lab", "--fresh"]);
  await kpi.succeed(["down", "kpi"]);
}

/** What a cluster made from it must be, asked from outside by kubectl: all nodes Ready, their leases renewed since a moment (milliseconds, Unix). */
export async function expectReady(kpi: TestKpi, lab: string, since: number): Promise<void> {
  const get = async (...what: string[]) =>
    JSON.parse((await kpi.succeed(["kubectl", "--lab", lab, "get", ...what, "-o", "json"])).stdout).items;
  const ready = (await get("nodes")).map((node: any) => [
    node.metadata.name,
    node.status.conditions.find((condition: any) => condition.type === "Ready").status,
  ]);
  expect(ready).toEqual(nodes.map((name) => [name, "True"]));
  const leases = await get("leases", "-n", "kube-node-lease");
  expect(leases.length).toBe(nodes.length);
  for (const lease of leases) expect(Date.parse(lease.spec.renewTime)).toBeGreaterThan(since);
}
