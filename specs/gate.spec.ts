import { afterAll, expect, setDefaultTimeout, test } from "bun:test";
import {
  closeSync,
  cpSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  ClusterDir,
  minutes,
  notYet,
  openAccess,
  openLab,
  projectRoot,
  type TestKpi,
  testKpi,
  until,
} from "../harness/kit.ts";
import { PrivateCache } from "./cache.ts";
import { everyStage } from "./inner-suites.ts";
import { singleNodeSpec } from "./single-node.ts";

setDefaultTimeout(minutes(20));
const dir = mkdtempSync(join(tmpdir(), "kpi-gate-"));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** One node is enough to see a gate hold: all run the same script. As small as a worker, because nothing gets installed. */
const spec = singleNodeSpec(dir, "gate", { server: "{ machine: null }" });

/** Three guests boot at once and wait for what will not come; a third of a minute is enough to be sure of that. */
const env = { TF_VAR_gate_seconds: "20" };

const evidence = (state: string, file: string) => {
  const newest = readdirSync(join(state, "runs")).sort().at(-1) ?? "";
  return readFileSync(join(state, "runs", newest, "evidence", "k3s-cp-01", file), "utf8");
};
/** Everything that is named after k3s on a node, but for the image's own manifest and cloud-init's notes, which have the node's name. */
const k3sFiles = [
  "find / -xdev \\( -path '*rancher*' -o -name 'k3s*' \\)",
  ...["/proc/*", "/etc/kpi/*", "/usr/share/k3s-node*", "/var/lib/cloud/*"].map((path) => `-not -path '${path}'`),
  "2>/dev/null",
].join(" ");

/** Makes the lab's resolver deaf as soon as there is one: guests still need seconds to boot. */
async function deafen({ state }: TestKpi): Promise<void> {
  const lab = await until(
    "the lab is up",
    minutes(15),
    async () => (await openLab(join(state, "labs", "gate"))) ?? notYet("no lab yet"),
  );
  for (const protocol of ["udp", "tcp"])
    await lab.enter("iptables", ["-I", "INPUT", "-p", protocol, "--dport", "53", "-j", "DROP"]);
}

test.concurrent("with DNS dead nothing of k3s is on the node, and up names node, step, resolver and name", async () => {
  await using kpi = testKpi();
  const up = await kpi.start(["up", spec, "--keep"], { env });
  await deafen(kpi);
  const { code, stderr } = await up.done;
  expect(code).toBe(1);
  expect(stderr).toMatch(/network: k3s-cp-01: dns: .*192\.168\.122\.1 .*artifacts\.kpi\.test/);
  expect(JSON.parse(evidence(kpi.state, "verdict.ndjson").trim().split("\n").at(-1) ?? "{}")).toMatchObject({
    step: "dns",
    ok: false,
  });
  expect((await kpi.succeed(["ssh", "k3s-cp-01", "--", `sudo ${k3sFiles} || true`])).stdout).toBe("");
});

test.concurrent(
  "with no default route nothing of k3s is on the node, and up says what was planned and what is there",
  async () => {
    // No spec can say that, so the template that configures the network loses its route.
    const project = join(dir, "project");
    copyProject(project);
    const template = join(project, "cloud-init", "network-config.yaml.tftpl");
    const text = readFileSync(template, "utf8");
    const routeless = text.replace(/^ +routes: .*\n/m, "");
    expect(routeless).not.toBe(text);
    writeFileSync(template, routeless);
    await using kpi = testKpi({ project });
    const { code, stderr } = await kpi.run(["up", spec, "--keep"], { env });
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /network: k3s-cp-01: route: planned a default route via 192\.168\.122\.1 on eth0, found none/,
    );
    expect(JSON.parse(evidence(kpi.state, "verdict.ndjson").trim().split("\n").at(-1) ?? "{}")).toMatchObject({
      step: "route",
      ok: false,
    });
    expect((await kpi.succeed(["ssh", "k3s-cp-01", "--", `sudo ${k3sFiles} || true`])).stdout).toBe("");
  },
);

test.concurrent("with a wrong artefact nothing is installed, and up says expected and got", async () => {
  // A cache of this test's own, in which k3s has been changed without changing its size or time: only the node can notice.
  using own = new PrivateCache();
  const cache = own.path;
  await using kpi = testKpi({ cache });
  await own.fill();
  const { files } = JSON.parse((await kpi.succeed(["supplies", "--json"])).stdout).find(
    (supply: { name: string }) => supply.name === "k3s-lab",
  );
  const path: string = files.k3s.path;
  expect(path.startsWith(cache)).toBe(true);
  tamper(path);
  const { code, stderr } = await kpi.run(["up", spec, "--keep"]);
  expect(code).toBe(1);
  expect(stderr).toMatch(/install: k3s-cp-01: artefact: .*expected sha256 [0-9a-f]{64}, got [0-9a-f]{64}/);
  expect((await kpi.succeed(["ssh", "k3s-cp-01", "--", `sudo ${k3sFiles} || true`])).stdout).toBe("");
});

test.concurrent("claims of a run that fails are judged as far as it came, and blocked by name after that", async () => {
  await using kpi = testKpi();
  const file = join(dir, "blocked.spec.ts");
  writeFileSync(file, everyStage(spec));
  const suite = await kpi.start(["test", file], { env: { KPI_SUITE: "" } }); // a suite of its own, also inside of one
  const suites = join(kpi.state, "suites");
  const record = await until("the first claim is judged", minutes(15), () => {
    const [name = ""] = existsSync(suites) ? readdirSync(suites) : [];
    const noted = join(suites, name, "claims.ndjson");
    if (!existsSync(noted) || !readFileSync(noted, "utf8").includes('"passed"')) return notYet("nothing is noted");
    return join(suites, name);
  });
  await (await openAccess(new ClusterDir(kpi.state, "gate"))).access.libvirt.powerOff("k3s-cp-01");
  const { code, stdout } = await suite.done;
  expect(code).toBe(1);
  expect(stdout, "progress of the run that it waits for").toMatch(/^… gate: [\d.]+m?s boot: started$/m);
  expect(stdout.trim().split("\n").at(-1)).toBe("1 passed, 4 failed");
  const { totals, claims } = JSON.parse(readFileSync(join(record, "results.json"), "utf8"));
  expect(totals).toEqual({ passed: 1, failed: 0, blocked: 4, skipped: 0 });
  for (const { title, why, error } of claims.slice(1)) {
    expect(title).toStartWith("never judged at ");
    expect(why).toBe("by boot");
    expect(error.what).toBe("blocked by boot: k3s-cp-01: its domain ended (destroyed)");
  }
});

/** The project as it is, to be changed; what is installed for it is shared. */
function copyProject(into: string): void {
  const parts = readdirSync(projectRoot).filter((part) => ![".git", "node_modules"].includes(part));
  for (const part of parts) cpSync(join(projectRoot, part), join(into, part), { recursive: true });
  symlinkSync(join(projectRoot, "node_modules"), join(into, "node_modules"));
}

/** Changes one byte in a copy that takes the file's place, size and times. */
function tamper(path: string): void {
  const { atime, mtime, size } = statSync(path);
  cpSync(path, `${path}.tampered`, { preserveTimestamps: true });
  const file = openSync(`${path}.tampered`, "r+");
  writeSync(file, Buffer.from([0x00]), 0, 1, Math.floor(size / 2));
  writeSync(file, Buffer.from([0xff]), 0, 1, Math.floor(size / 2) + 1);
  closeSync(file);
  utimesSync(`${path}.tampered`, atime, mtime);
  renameSync(`${path}.tampered`, path);
}
