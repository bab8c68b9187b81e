import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { minutes, seconds } from "./duration.ts";
import { projectRoot } from "./paths.ts";
import { schemaProblem } from "./schema.ts";
import { loadSpec, type NodeSpec } from "./spec.ts";

const specs = join(projectRoot, "specs");
const kpi = await loadSpec(join(specs, "kpi.yaml"));
const lab = await loadSpec(join(specs, "lab.yaml"));

/** The platform's facts, once more and by hand: whoever changes the spec changes them on purpose. */
const nodes = (machines: readonly NodeSpec["machine"][]) => [
  { name: "k3s-cp-01", role: "server", address: "192.168.122.10", machine: machines[0] },
  { name: "k3s-worker-01", role: "agent", address: "192.168.122.11", machine: machines[1] },
  { name: "k3s-worker-02", role: "agent", address: "192.168.122.12", machine: machines[2] },
];
const big = { cpus: 6, memoryMiB: 10 * 1024, diskGiB: 80 };
const small = { cpus: 1, memoryMiB: 1024, diskGiB: 10 };

describe("specs/kpi.yaml", () => {
  test("is the production cluster", () => {
    const { sources, ...facts } = kpi;
    expect(facts as unknown).toEqual({
      name: "kpi",
      k3s: {
        distribution: "k3s",
        version: "v1.34.3+k3s1",
        podCidr: "10.42.0.0/16",
        serviceCidr: "10.43.0.0/16",
        disable: [],
      },
      network: {
        name: "default",
        cidr: "192.168.122.0/24",
        gateway: "192.168.122.1",
        dns: ["8.8.8.8", "1.1.1.1"],
        interface: "eth0",
      },
      image: { name: "k3s-node-ubuntu-24.04", source: "ubuntu-24.04", pool: "libvirt_images", boot: "disk" },
      guest: { user: "ubuntu" },
      nodes: nodes([big, big, big]),
      budgets: { boot: seconds(30), network: seconds(15), install: minutes(3), ready: minutes(5) },
    });
    expect(sources.map((source) => relative(specs, join(process.cwd(), source)))).toEqual(["kpi.yaml"]);
  });

  test("cannot be changed by whoever reads it", () => {
    expect(() => Object.assign(kpi.network, { name: "other" })).toThrow();
    expect(() => (kpi.network.dns as string[]).push("9.9.9.9")).toThrow();
  });
});

describe("specs/lab.yaml", () => {
  test("is the same cluster but for sizes, distribution, resolver, image source and budgets", () => {
    const { k3s, network, image, budgets, nodes: labNodes, sources, ...same } = lab;
    expect(same).toEqual({ name: kpi.name, guest: kpi.guest });
    expect(k3s).toEqual({
      ...kpi.k3s,
      distribution: "k3s-lab",
      version: "v1.34.3+lab1",
      disable: ["traefik", "servicelb", "metrics-server"],
    });
    expect(network).toEqual({ ...kpi.network, dns: [kpi.network.gateway] });
    expect(image).toEqual({
      ...kpi.image,
      name: "k3s-node-debian-13",
      source: "debian-13-lookalike",
      boot: "direct",
    });
    expect(labNodes as unknown).toEqual(nodes([{ ...small, cpus: 2, memoryMiB: 2048 }, small, small]));
    expect(Object.values(budgets).every((budget) => budget > 0)).toBe(true);
    expect(sources).toHaveLength(2);
  });

  test("pins the same Kubernetes", () => {
    expect(lab.k3s.version.split("+")[0]).toBe(kpi.k3s.version.split("+")[0] ?? "");
  });

  test("states nothing that kpi.yaml says already", async () => {
    const base = await Bun.file(join(specs, "kpi.yaml")).text();
    const repeated = (await Bun.file(join(specs, "lab.yaml")).text())
      .split("\n")
      .map((line) => line.replace(/ *#.*/, ""))
      .filter((line) => /^ +\w+: \S/.test(line) && base.includes(`${line}\n`));
    // The budgets stand together, and those of k3s itself are the same in emulation.
    expect(repeated.filter((line) => !/^ {2}(install|ready):/.test(line))).toEqual([]);
  });
});

describe("specs/cluster.schema.json", () => {
  type Schema = { properties?: Record<string, Schema>; additionalProperties?: Schema | false; description?: string } & {
    $defs?: Record<string, Schema>;
    errorMessage?: string;
    $ref?: string;
  };

  test("is a valid schema", async () => {
    expect(schemaProblem(await Bun.file(join(specs, "cluster.schema.json")).json())).toBeUndefined();
  });

  test("describes every property and says what it expects, and allows no other", async () => {
    const schema = (await Bun.file(join(specs, "cluster.schema.json")).json()) as Schema;
    const lacking: string[] = [];
    const visit = (path: string, { properties, additionalProperties }: Schema) => {
      if (properties !== undefined && additionalProperties !== false) lacking.push(`${path} is open`);
      for (const [name, property] of Object.entries(properties ?? {})) {
        const here = `${path}.${name}`;
        if (property.description === undefined) lacking.push(`${here} has no description`);
        if (property.errorMessage === undefined && property.$ref === undefined) lacking.push(`${here} expects nothing`);
        visit(here, property);
        if (property.additionalProperties) visit(`${here}.*`, property.additionalProperties);
      }
    };
    visit("", schema);
    visit("machine", schema.$defs?.["machine"] ?? {});
    expect(lacking).toEqual([]);
  });

  test.each(["kpi.yaml", "lab.yaml"])("is what editors use for %s", async (name) => {
    const [first] = (await Bun.file(join(specs, name)).text()).split("\n");
    expect(first).toBe("# yaml-language-server: $schema=cluster.schema.json");
  });
});

describe("extends", () => {
  let directory = "";
  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "kpi-spec-"));
  });
  afterAll(() => rm(directory, { recursive: true }));

  const load = async (text: string) => {
    const path = join(directory, "spec.yaml");
    await Bun.write(path, `extends: ${join(specs, "lab.yaml")}\n${text}`);
    return loadSpec(path);
  };

  test("maps merge, lists replace, null removes, over three files", async () => {
    const spec = await load(
      "k3s: { disable: [traefik] }\nnodes: { k3s-worker-01: null, k3s-cp-01: { machine: { cpus: null, disk: 1TiB } } }",
    );
    expect(spec.k3s).toEqual({ ...lab.k3s, disable: ["traefik"] });
    expect(spec.nodes as unknown).toEqual([
      { ...lab.nodes[0], machine: { cpus: 1, memoryMiB: 2048, diskGiB: 1024 } },
      lab.nodes[2],
    ]);
    expect(spec.sources).toHaveLength(3);
  });

  test("an overridden node keeps its place, a new one comes last, whatever they are called", async () => {
    const spec = await load(
      'nodes: { "7": { role: agent, address: 192.168.122.20 }, k3s-worker-01: { address: 192.168.122.21 } }',
    );
    expect(spec.nodes.map(({ name }) => name)).toEqual(["k3s-cp-01", "k3s-worker-01", "k3s-worker-02", "7"]);
  });
});
