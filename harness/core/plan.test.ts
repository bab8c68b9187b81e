import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { shortages } from "./capacity.ts";
import type { KpiError } from "./errors.ts";
import { projectRoot } from "./paths.ts";
import { digest, macAddress, planCluster } from "./plan.ts";
import { loadSpec } from "./spec.ts";

const production = await loadSpec(join(projectRoot, "specs", "kpi.yaml"));
const emulated = await loadSpec(join(projectRoot, "specs", "lab.yaml"));
const lab = { kind: "lab" } as const;
const system = { kind: "libvirt", uri: "qemu:///system" } as const;

describe("planCluster", () => {
  test("states the production cluster", () => {
    const plan = planCluster(production, system);
    expect(plan.nodes.map(({ name, role, address }) => `${name} ${role} ${address}`)).toEqual([
      "k3s-cp-01 server 192.168.122.10",
      "k3s-worker-01 agent 192.168.122.11",
      "k3s-worker-02 agent 192.168.122.12",
    ]);
    expect(plan.k3s.server).toBe("https://192.168.122.10:6443");
    expect(plan.k3s.binary.url).toBe("https://github.com/k3s-io/k3s/releases/download/v1.34.3%2Bk3s1/k3s");
    expect(plan.network.requiredNames).toEqual(["github.com"]);
    expect(plan.needs).toEqual({ memoryMiB: 30 * 1024, cpus: 6, diskGiB: 240 });
  });

  test("in a lab, nodes fetch from the lab and from nowhere else", () => {
    const { k3s, network } = planCluster(production, lab);
    expect([k3s.binary.url, k3s.images.url].every((url) => url.startsWith("http://artifacts.kpi.test/"))).toBe(true);
    expect(network.requiredNames).toEqual(["artifacts.kpi.test"]);
  });

  test("is the same every time, and another for another spec or host", () => {
    const one = planCluster(emulated, lab).digest;
    expect(planCluster(emulated, lab).digest).toBe(one);
    expect(new Set([one, planCluster(production, lab).digest, planCluster(production, system).digest]).size).toBe(3);
  });

  test("the stand-in distribution is refused where it could not be fetched", () => {
    let caught: KpiError | undefined;
    try {
      planCluster(emulated, system);
    } catch (error) {
      caught = error as KpiError;
    }
    expect(caught).toMatchObject({ kind: "spec" });
    expect(caught?.expected).toMatch(/^distribution k3s, --host lab, or k3s\.mirror/);
  });

  test("nodes fetch k3s from a mirror where the spec has one, and prove its name first; a lab serves by itself", () => {
    const mirrored = { ...emulated, k3s: { ...emulated.k3s, mirror: "https://mirror.example/k3s/" } };
    const { k3s, network } = planCluster(mirrored, system);
    expect(k3s.binary.url).toBe("https://mirror.example/k3s/k3s");
    expect(network.requiredNames).toEqual(["mirror.example"]);
    expect(planCluster(mirrored, { kind: "lab" }).network.requiredNames).toEqual(["artifacts.kpi.test"]);
  });

  test("deadlines are longer than budgets", () => {
    for (const { budget, deadline } of planCluster(production, lab).stages)
      expect(deadline).toBeGreaterThan(budget ?? 0);
  });
});

test("MAC addresses are QEMU's, stable, and differ by node and by cluster", () => {
  expect(macAddress("kpi", "k3s-cp-01")).toMatch(/^52:54:00(:[0-9a-f]{2}){3}$/);
  expect(macAddress("kpi", "a")).toBe(macAddress("kpi", "a"));
  expect(new Set([macAddress("kpi", "a"), macAddress("kpi", "b"), macAddress("other", "a")]).size).toBe(3);
});

test("a digest does not depend on the order of keys", () => {
  expect(digest({ a: 1, b: { c: 2, d: 3 } })).toBe(digest({ b: { d: 3, c: 2 }, a: 1 }));
  expect(digest([1, 2])).not.toBe(digest([2, 1]));
});

test("shortages name what is needed and what is there", () => {
  const plan = planCluster(production, lab);
  expect(shortages(plan, { memoryMiB: 64 * 1024, cpus: 18, diskGiB: 250 })).toEqual([]);
  expect(shortages(plan, { memoryMiB: 24 * 1024, cpus: 2, diskGiB: 80 })).toEqual([
    "memory: needs 31.6 GiB, 24 GiB are there",
    "cpus a node: needs 6 cores, 2 cores are there",
    "disk: needs 120 GiB, 80 GiB are there",
  ]);
});
