import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { KpiError } from "./errors.ts";
import { projectRoot } from "./paths.ts";
import { loadSpec } from "./spec.ts";

const fixtures = join(projectRoot, "fixtures", "bad-specs");
const valid = await Bun.file(join(fixtures, "valid.yaml")).text();
const lines = (await Bun.file(join(fixtures, "cases.txt")).text()).split("\n");

/** The cases of the file, by section. */
const sections = new Map<string, { edit: string; faults: string[] }[]>();
for (const line of lines) {
  const section = [...sections.values()].at(-1);
  if (line.startsWith("# ")) sections.set(line.slice(2), []);
  else if (line.startsWith("    ")) section?.at(-1)?.faults.push(line.trim());
  else if (line.includes(" =>")) section?.push({ edit: line, faults: [] });
}

let directory = "";
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "kpi-bad-specs-"));
});
afterAll(() => rm(directory, { recursive: true }));

/** The faults of the first of these files, with their directory left out; none when the spec is fine. */
async function faultsOf(files: Readonly<Record<string, string | Uint8Array>>): Promise<string[]> {
  for (const [name, content] of Object.entries(files)) await Bun.write(join(directory, name), content);
  return faultsAt(Object.keys(files)[0] ?? "");
}

async function faultsAt(name: string): Promise<string[]> {
  const error: unknown = await loadSpec(join(directory, name)).catch((thrown: unknown) => thrown);
  if (!(error instanceof Error)) return [];
  if (!(error instanceof KpiError) || error.kind !== "spec") throw error;
  expect(error.what).toMatch(/^spec \/.* has (1 fault|\d+ faults)$/);
  return error.details.map((line) => line.replaceAll(`${directory}/`, ""));
}

function apply(edit: string): string {
  const [from = "", to = ""] = edit.split(/ => ?/).map(unescape);
  expect(valid.split(from).length, `${edit}: what is replaced stands once in valid.yaml`).toBe(2);
  return valid.replace(from, () => to);
}

function unescape(text: string): string {
  return text.replaceAll("\\n", "\n").replaceAll("\\t", "\t").replaceAll("\\0", "\0");
}

test("the spec that the cases change is fine", async () => {
  expect(await faultsOf({ "spec.yaml": valid })).toEqual([]);
  expect([...sections.values()].flat().length).toBeGreaterThan(100);
});

describe.each([...sections])("%s", (_, cases) => {
  test.each(cases.map(({ edit, faults }) => [edit, faults] as const))("%s", async (edit, faults) => {
    expect(faults.length).toBeGreaterThan(0);
    expect(await faultsOf({ "spec.yaml": apply(edit) })).toEqual(faults.map((fault) => `spec.yaml:${fault}`));
  });
});

describe("every fault at once", () => {
  test("of one file, in its order", async () => {
    const text = valid
      .replace("name: kpi", "nmae: kpi")
      .replace("v1.34.3+k3s1", "stable")
      .replace("122.12", "122.1")
      .replace("memory: 10GiB", "memory: 10");
    expect(await faultsOf({ "spec.yaml": text })).toEqual([
      "spec.yaml:1:1 nmae: is an unknown key, expected name (did you mean that?)",
      'spec.yaml:4:12 k3s.version: is "stable", expected one exact release such as v1.34.3+k3s1, never a channel such as stable, latest or v1.34',
      "spec.yaml:16:29 machine.memory: is 10, expected an amount with its unit such as 10GiB or 512MiB",
      'spec.yaml:20:31 nodes.w2.address: is "192.168.122.1", the gateway\'s address, expected one of its own',
    ]);
  });

  test("of a spec without nodes, which is one", async () => {
    const text = valid.replace(/nodes:\n( .*\n)*/, "nodes: {}\n");
    expect(await faultsOf({ "spec.yaml": text })).toEqual([
      "spec.yaml:17:8 nodes: is an empty mapping, expected a mapping from node name to role and address",
    ]);
  });

  test("but a hundred are only counted", async () => {
    const many = Array.from({ length: 100 }, (_, index) => `key${index}: 1`).join("\n");
    await Bun.write(join(directory, "many.yaml"), `${valid}${many}\n`);
    const error = (await loadSpec(join(directory, "many.yaml")).catch((thrown: unknown) => thrown)) as KpiError;
    expect(error.what).toEndWith("many.yaml has 100 faults");
    expect(error.details).toHaveLength(51);
    expect(error.details.at(-1)).toBe("and 50 more");
  });
});

describe("files that are no spec", () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  const cases: [string, string | Uint8Array, string][] = [
    ["empty", "", "1:1 document: is empty, expected a mapping"],
    ["only a comment", "# nothing\n", "1:1 document: is empty, expected a mapping"],
    ["only a marker", "---\n", "1:4 document: is a single value, expected a mapping"],
    ["a list", "\n- kpi\n", "2:1 document: is a list, expected a mapping"],
    ["a single value", "kpi\n", "1:1 document: is a single value, expected a mapping"],
    ["UTF-16", Buffer.from(`\uFEFF${valid}`, "utf16le"), "1:1 document: is not text in UTF-8, expected a spec file"],
    [
      "broken UTF-8",
      Uint8Array.of(...bytes("name: k"), 0xff),
      "1:1 document: is not text in UTF-8, expected a spec file",
    ],
    ["70000 characters", `#${"x".repeat(69_999)}`, "1:1 document: has 70000 characters, expected at most 65536"],
    ["2 MB", "x".repeat(2_000_000), "1:1 document: is 2000000 bytes long, expected a spec file"],
    [
      "deep",
      valid.replace("kpi", "[".repeat(40) + "]".repeat(40)),
      "1:39 document: is nested too deeply, expected at most 32 levels",
    ],
  ];
  test.each(cases)("%s", async (_, content, fault) => {
    expect(await faultsOf({ "spec.yaml": content })).toEqual([`spec.yaml:${fault}`]);
  });

  test("nested without end", async () => {
    expect(await faultsOf({ "spec.yaml": "[".repeat(20_000) })).toEqual([
      expect.stringMatching(/^spec.yaml:1:\d+ document: is nested too deeply, expected at most 32 levels$/),
    ]);
  });

  test("aliases that multiply", async () => {
    const level = (index: number) =>
      `k${index}: &k${index} [${Array(9)
        .fill(`*k${index - 1}`)
        .join(", ")}]\n`;
    const bomb = `k0: &k0 lol\n${Array.from({ length: 20 }, (_, index) => level(index + 1)).join("")}`;
    const found = await faultsOf({ "spec.yaml": bomb });
    expect(found).toContain('spec.yaml:2:10 k1[0]: "*k0" is an alias, expected the value written out');
  });

  test("not there, and a directory", async () => {
    expect(await faultsAt("none.yaml")).toEqual(["none.yaml:1:1 document: is not there, expected a spec file"]);
    await mkdir(join(directory, "specs.d"), { recursive: true });
    expect(await faultsAt("specs.d")).toEqual(["specs.d:1:1 document: is a directory, expected a spec file"]);
  });

  test("a device, which would never end", async () => {
    const error = (await loadSpec("/dev/zero").catch((thrown: unknown) => thrown)) as KpiError;
    expect(error.details).toEqual(["/dev/zero:1:1 document: is no ordinary file, expected a spec file"]);
  });
});

describe("extends", () => {
  const cases: [string, Record<string, string>, string[]][] = [
    [
      "a fault of the base is told where the base has it",
      { "lab.yaml": "extends: base.yaml\n", "base.yaml": valid.replace("cpus: 6", "cpus: 0") },
      ["base.yaml:16:18 machine.cpus: is 0, expected a whole number from 1 to 256"],
    ],
    [
      "a fault of an override is told where it overrides",
      { "lab.yaml": "extends: base.yaml\nnodes:\n  w2: { address: 192.168.122.10 }\n", "base.yaml": valid },
      ['lab.yaml:3:18 nodes.w2.address: is "192.168.122.10", the address of cp too, expected one of its own'],
    ],
    [
      "faults of both, the given file first",
      {
        "lab.yaml": "extends: base.yaml\nmachine: { memory: 1G }\n",
        "base.yaml": valid.replace("name: kpi", "name: 7").replace("10GiB", "10G"),
      },
      [
        'lab.yaml:2:20 machine.memory: is "1G", expected an amount with its unit such as 10GiB or 512MiB',
        "base.yaml:1:7 name: is 7, expected 1 to 32 lower-case letters, digits and hyphens that begin with a letter and do not end with a hyphen",
      ],
    ],
    [
      "a key is removed that is needed",
      { "lab.yaml": "extends: base.yaml\nnetwork:\n  gateway: null\n", "base.yaml": valid },
      ["lab.yaml:3:12 network.gateway: is removed here, but needed, expected an IPv4 address such as 192.168.122.10"],
    ],
    [
      "a key is removed that is not there",
      { "lab.yaml": "extends: base.yaml\nnodes: { w3: null }\n", "base.yaml": valid },
      ["lab.yaml:2:14 nodes.w3: removes what is not there, expected a value, or a key of the spec that is extended"],
    ],
    [
      "the server is removed",
      { "lab.yaml": "extends: base.yaml\nnodes: { cp: null }\n", "base.yaml": valid },
      ["lab.yaml:2:1 nodes: has no server, expected one node with role server"],
    ],
    [
      "a new node is not complete",
      { "lab.yaml": "extends: base.yaml\nnodes:\n  w3: { role: agent }\n", "base.yaml": valid },
      ["lab.yaml:3:3 nodes.w3.address: is missing, expected an IPv4 address such as 192.168.122.10"],
    ],
    [
      "an override with a slip in the node's name",
      { "lab.yaml": "extends: base.yaml\nnodes:\n  cpu: { machine: { cpus: 2 } }\n", "base.yaml": valid },
      ["lab.yaml:3:3 nodes.cpu: is a new node without role and address, expected cp (did you mean that?)"],
    ],
    [
      "the base is not there, and what can be checked without it is",
      { "lab.yaml": "extends: none.yaml\ncolor: red\nmachine: { cpus: 0 }\n" },
      [
        'lab.yaml:1:10 extends: is "none.yaml", not there, expected a spec file',
        "lab.yaml:2:1 color: is an unknown key, expected one of extends, name, k3s, network, image, guest, machine, nodes, budgets",
        "lab.yaml:3:18 machine.cpus: is 0, expected a whole number from 1 to 256",
      ],
    ],
    [
      "the base is a directory",
      { "lab.yaml": "extends: .\n" },
      ['lab.yaml:1:10 extends: is ".", a directory, expected a spec file'],
    ],
    [
      "the base is no YAML",
      { "lab.yaml": "extends: base.yaml\n", "base.yaml": "name: 'kpi\n" },
      ["base.yaml:1:7 document: is no valid YAML: missing closing ', expected YAML 1.2"],
    ],
    [
      "no file name",
      { "lab.yaml": "extends: [base.yaml]\n", "base.yaml": valid },
      ["lab.yaml:1:10 extends: is a list, expected the path of another spec"],
    ],
    [
      "an empty name",
      { "lab.yaml": "extends:\n" },
      ["lab.yaml:1:9 extends: is empty, expected the path of another spec"],
    ],
    [
      "a file that extends itself",
      { "lab.yaml": "name: kpi\nextends: ./lab.yaml\n" },
      [
        'lab.yaml:2:10 extends: is "./lab.yaml", which leads back to where it began: lab.yaml > lab.yaml, expected a chain that ends',
      ],
    ],
    [
      "a circle of three",
      { "a.yaml": "extends: b.yaml\n", "b.yaml": "extends: c.yaml\n", "c.yaml": "extends: a.yaml\n" },
      [
        'c.yaml:1:10 extends: is "a.yaml", which leads back to where it began: a.yaml > b.yaml > c.yaml > a.yaml, expected a chain that ends',
      ],
    ],
  ];
  test.each(cases)("%s", async (_, files, faults) => {
    expect(await faultsOf(files)).toEqual(faults);
  });
});

test("whatever is done to a spec, loading it gives faults with positions or a spec, and nothing else", async () => {
  const bits =
    `{ } [ ] : - ? &a *a !!x ' " # | % ~ \\ \t \u2028 \u{1F600} \uFEFF 0 -1 1e99 .nan null yes <<: __proto__ 10.0.0.0/8`
      .split(" ")
      .concat("", "\n", "\r\n", "---\n", "extends: spec.yaml\n");
  let seed = 42;
  const random = (below: number) => {
    // Park and Miller's generator: the same mutations at every run.
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % below;
  };
  const shape = /^(spec\.yaml:[1-9]\d*:[1-9]\d* \S.*: .+, expected .+|and \d+ more)$/;
  for (let round = 0; round < 100; round++) {
    let text = valid;
    for (let change = random(3); change >= 0; change--) {
      const start = random(text.length + 1);
      text = text.slice(0, start) + (bits[random(bits.length)] ?? "") + text.slice(start + random(12));
    }
    const lengths = text.split("\n").map((line) => line.length);
    const isOff = (fault: string) => {
      const [line = 0, col = 0] = fault.split(/[: ]/).slice(1, 3).map(Number);
      return !(col >= 1) || col > (lengths[line - 1] ?? -1) + 1;
    };
    const faults = await faultsOf({ "spec.yaml": text });
    const wrong = faults.filter((fault) => !shape.test(fault) || (!fault.startsWith("and ") && isOff(fault)));
    expect(wrong, JSON.stringify(text)).toEqual([]);
  }
});
