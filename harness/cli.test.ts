import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { projectRoot } from "./core/paths.ts";
import { run, shellQuote } from "./tools/exec.ts";

const dir = mkdtempSync(join(tmpdir(), "cli-"));
afterAll(() => rmSync(dir, { recursive: true }));
const state = join(dir, "state");
const bun = join(projectRoot, "node_modules", ".bin", "bun");
const cli = join(projectRoot, "harness", "cli.ts");
const kpi = (...args: string[]) =>
  run(bun, [cli, ...args], {
    env: { KPI_STATE: state, KPI_CACHE: join(dir, "cache"), FORCE_COLOR: "1" }, // as some CI services set it
    accept: [0, 1, 2, 130],
  });

describe("bad input", () => {
  test("a bad spec: every fault with its position, exit 2, nothing created", async () => {
    const spec = join(dir, "bad.yaml");
    writeFileSync(
      spec,
      `extends: ${join(projectRoot, "specs", "lab.yaml")}\nk3s: { version: stable }\nnodes:\n  k3s-cp-01: { address: 192.168.122.1 }\n`,
    );
    const { code, stderr, stdout } = await kpi("up", spec);
    expect(code).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).toMatch(/bad\.yaml:2:\d+ k3s\.version: /);
    expect(stderr).toMatch(/bad\.yaml:4:\d+ nodes\.k3s-cp-01\.address: /);
    expect(existsSync(state)).toBe(false);
    expect(existsSync(join(dir, "cache"))).toBe(false);
  });

  test.each([
    [["upp"], 'there is no command "upp"', 2],
    [["up", "--frsh"], "--frsh", 2],
    [["up", "a", "b"], 'unexpected argument "b"', 2],
    [["up", "--host", "vbox"], '--host: "vbox" is no host', 2],
    [["test", "networc"], 'test: "networc" is not there', 2],
    [["test", "network", "specs/pair.yaml"], 'test: "specs/pair.yaml" is no test', 2],
    [["test", "--unit", "network"], "--unit, and FILE or --title, both say what to run", 2],
    [["ssh"], "there is no cluster", 1],
    [["down", "nothing-here"], 'there is no cluster "nothing-here"', 2],
    [["down", "one", "--cluster", "two"], "a name, --lab and --cluster say the same thing", 2],
    [["down", "--lab", "one", "--cluster", "two"], "a name, --lab and --cluster say the same thing", 2],
    [["constructor"], 'there is no command "constructor"', 2],
    [["help", "toString"], 'there is no command "toString"', 2],
    [["bundle", "--cluster", "kip"], 'there is no cluster "kip", and no run of it', 2],
    [["supplies", "pin", "nothing", "more"], 'there is no supply "nothing"', 2],
  ] as const)("%p is answered in one sentence, and makes nothing", async (args, what, exit) => {
    const { code, stderr, stdout } = await kpi(...args);
    expect(stderr + stdout).toContain(what);
    expect(stderr).not.toContain("bug:");
    expect(code).toBe(exit);
    expect(existsSync(state)).toBe(false);
  });
});

test("what cannot be reaped fails kpi reap, and no other command", async () => {
  const own = join(dir, "left");
  const entry = { id: "1-1-a", at: "", owner: { pid: process.pid, start: 1, command: "up" } };
  const intent = { kind: "cluster", cluster: "stuck", host: { kind: "libvirt", uri: "qemu:///system" } };
  const terraform = join(own, "clusters", "stuck", "terraform", "config", "terraform-libvirt");
  for (const place of [join(own, "journal"), terraform]) mkdirSync(place, { recursive: true });
  writeFileSync(join(terraform, "terraform.tfstate"), '{ "resources": [{}] }');
  writeFileSync(join(own, "journal", "1-1-a.json"), JSON.stringify({ ...entry, intent }));
  const asked = (...args: string[]) =>
    run(bun, [cli, ...args], { env: { KPI_STATE: own, KPI_CACHE: join(dir, "cache") }, accept: [0, 1, 2] });
  const reaped = await asked("reap");
  expect(reaped).toMatchObject({ code: 1, stdout: "stays cluster stuck" });
  expect(reaped.stderr).toContain("kpi: could not remove cluster stuck: ");
  expect(await asked("image")).toMatchObject({ code: 0, stdout: expect.stringContaining("image") });
});

test("help lists every command, and each command explains itself", async () => {
  const overview = await kpi("--help");
  expect(overview.code).toBe(0);
  const names = [...overview.stdout.matchAll(/^ {2}([a-z]+) {2,}\S/gm)].map((match) => match[1] ?? "");
  expect(names).toEqual(
    expect.arrayContaining([
      "up",
      "down",
      "rebuild",
      "status",
      "plan",
      "doctor",
      "ssh",
      "console",
      "logs",
      "kubeconfig",
      "kubectl",
      "supplies",
      "image",
      "bundle",
      "reap",
      "test",
    ]),
  );
  expect((await kpi("up", "--help")).stdout).toContain("usage: kpi up [SPEC] [OPTIONS]");
});

test("plan prints JSON that follows from the spec, and touches nothing", async () => {
  const { stdout, code } = await kpi("plan", "lab", "--json");
  expect(code).toBe(0);
  expect(JSON.parse(stdout)).toMatchObject({
    cluster: "kpi",
    nodes: [{ name: "k3s-cp-01" }, { name: "k3s-worker-01" }, { name: "k3s-worker-02" }],
  });
  expect(existsSync(state)).toBe(false);
});

test("of chosen tests the results are printed as JSON, and what the tests say goes elsewhere", async () => {
  const file = join(dir, "chosen.test.ts");
  writeFileSync(
    file,
    `import { test } from "bun:test"; test("this one", () => {}); test("not that", () => { throw new Error("no"); });`,
  );
  const { stdout, stderr, code } = await kpi("test", file, "-t", "this", "--json");
  expect(code).toBe(0);
  expect(JSON.parse(stdout).totals).toEqual({ passed: 1, failed: 0, blocked: 0, skipped: 0 });
  expect(stderr.trim().split("\n").at(-1)).toBe("1 passed, 0 failed");
  rmSync(state, { recursive: true });
});

test("what lies in the caller's directory for bun is left alone", async () => {
  const elsewhere = join(dir, "elsewhere");
  mkdirSync(elsewhere);
  writeFileSync(join(elsewhere, "bunfig.toml"), 'preload = ["./first.ts"]\n');
  writeFileSync(join(elsewhere, "first.ts"), 'throw new Error("it was run");\n');
  writeFileSync(join(elsewhere, ".env"), "KPI_CACHE=/no%cache\n");
  const options = { cwd: elsewhere, env: { KPI_STATE: state, KPI_CACHE: undefined } };
  expect((await run(join(projectRoot, "kpi"), ["labs"], options)).stdout).toContain("no lab");
});

test("output that cannot be written is an error, and says so", async () => {
  const words = ["sh", bun, cli, "plan", "lab", "--json"];
  const { stderr } = await run("sh", ["-c", 'exec "$@" > /dev/full', ...words], { accept: [1] });
  expect(stderr).toStartWith("kpi: what was said is not whole: the system refuses: no space left on device");
});

test("on a terminal, what runs is drawn while it runs", async () => {
  const spec = join(dir, "big.yaml");
  const lab = join(projectRoot, "specs", "lab.yaml");
  writeFileSync(
    spec,
    `extends: ${JSON.stringify(lab)}\nname: big\nnodes: { k3s-cp-01: { machine: { memory: 900GiB } } }\n`,
  );
  const options = { env: { TERM: "xterm", KPI_STATE: state }, accept: [1] };
  const command = shellQuote([bun, cli, "up", spec]);
  const { stdout } = await run("script", ["--quiet", "--return", "--command", command, "/dev/null"], options);
  const seen = stdout.replaceAll(/\x1b\[\d*[A-Za-z]/g, "");
  expect(seen).toMatch(/▸ doctor +(\d+ms|\d+\.\ds)/); // more than a second where KVM has not been asked yet
  expect(seen).toMatch(/✗ doctor +(\d+ms|\d+\.\ds)/);
  expect(seen).toContain("memory: needs 903.6 GiB");
  rmSync(state, { recursive: true });
});

test("an error as JSON has its kind and its sentence", async () => {
  const { stdout, code } = await kpi("plan", join(dir, "absent.yaml"), "--json");
  expect(code).toBe(2);
  expect(JSON.parse(stdout)).toMatchObject({ error: { kind: "spec" } });
});
