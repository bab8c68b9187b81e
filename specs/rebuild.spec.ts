import { afterAll, beforeAll, setDefaultTimeout, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, milliseconds, minutes, notYet, openLab, run, seconds, testKpi, until } from "../harness/kit.ts";
import { leaksOf } from "./leaks.ts";
import { singleNodeSpec } from "./single-node.ts";

setDefaultTimeout(minutes(30));
const dir = mkdtempSync(join(tmpdir(), "kpi-rebuild-"));
const kpi = testKpi();
afterAll(async () => {
  await kpi[Symbol.asyncDispose]();
  rmSync(dir, { recursive: true, force: true });
});

/** One server is enough to see what goes and what stays: a third of the time that three nodes take in emulation. */
const spec = singleNodeSpec(dir, "rebuild");
const identities =
  "cat /etc/machine-id; cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub; sudo sha256sum /var/lib/rancher/k3s/server/tls/server-ca.crt | cut -c1-64";

interface Seen {
  readonly plan: string;
  readonly nodes: readonly string[];
  readonly identities: readonly string[];
  readonly image: string;
  readonly packer: boolean;
}

/** What a cluster is that has just been made. */
async function look(): Promise<Seen> {
  const status = JSON.parse((await kpi.succeed(["status", "--json"])).stdout);
  const cluster = JSON.parse(readFileSync(join(kpi.state, "clusters", "rebuild", "cluster.json"), "utf8"));
  return {
    plan: status.plan,
    nodes: status.nodes.map((node: Record<string, string>) => `${node["name"]} ${node["address"]} ${node["mac"]}`),
    identities: (await kpi.succeed(["ssh", "k3s-cp-01", "--", identities])).stdout.split("\n"),
    image: cluster.image,
    packer: existsSync(join(kpi.state, "runs", cluster.run, "packer.log")),
  };
}

/** Everything that the running harness, its tools and its daemons show in the process list, sampled while `up` runs. */
async function upWatched(): Promise<ReadonlySet<string>> {
  const lines = new Set<string>();
  let ended = false;
  const up = await kpi.start(["up", spec, "--json"]);
  const done = up.done.finally(() => (ended = true));
  await until(
    "up ends",
    minutes(20),
    () => {
      for (const pid of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
        for (const file of ["cmdline", "environ"]) {
          try {
            lines.add(readFileSync(`/proc/${pid}/${file}`, "utf8").replaceAll("\0", " "));
          } catch {} // gone
        }
      }
      if (!ended) notYet("up runs");
    },
    { every: milliseconds(300) },
  );
  const { code, stderr } = await done;
  expect(code, stderr).toBe(0);
  return lines;
}

let before: Seen;
let after: Seen;
let commandLines: ReadonlySet<string>;
let leaks: readonly string[];
let exposed: readonly string[];
let searched = 0;
let use: { readonly kubectl: string; readonly ssh: string };
let second: { readonly code: number; readonly stderr: string };
let tried: readonly string[];
beforeAll(async () => {
  commandLines = await upWatched();
  before = await look();
  use = JSON.parse((await kpi.succeed(["status", "--json"])).stdout).use;
  tried = [(await run("sh", ["-c", use.kubectl])).stdout, (await run("sh", ["-c", `${use.ssh} hostname`])).stdout];
  exposed = searchSecrets();
  const rebuild = await kpi.start(["rebuild", spec]);
  const lock = join(kpi.state, "locks", "rebuild.lock");
  await until("the first has the lock", seconds(30), () => existsSync(lock) || notYet("no lock yet"));
  second = await kpi.run(["up", spec]);
  const { code, stderr } = await rebuild.done;
  expect(code, stderr).toBe(0);
  after = await look();
  await kpi.succeed(["down"]);
  leaks = leaksOf(kpi);
}, minutes(30));

/** The secrets of the cluster, as text that can be searched for. */
function secrets(): string[] {
  const dir = join(kpi.state, "clusters", "rebuild", "secrets");
  const keys = readdirSync(dir).filter((name) => !name.endsWith(".pub") && name !== "token");
  const bodies = keys.map((name) => readFileSync(join(dir, name), "utf8").split("\n")[2] ?? "none");
  return [readFileSync(join(dir, "token"), "utf8").trim(), ...bodies];
}

/** Files that others may read, or that belong to a run's record, and processes, in which a secret stands. */
function searchSecrets(): string[] {
  const secret = secrets();
  const wrong: string[] = [];
  for (const path of new Bun.Glob("**").scanSync({ cwd: kpi.state, absolute: true, dot: true, onlyFiles: true })) {
    const { mode, size } = statSync(path);
    if ((mode & 0o077) === 0 && !path.includes("/runs/")) continue; // may hold secrets, is for its owner
    if (size > 64 * 2 ** 20) throw new Error(`${path} is too large to be searched, and readable by others`);
    const text = readFileSync(path, "latin1");
    searched += 1;
    if (secret.some((value) => text.includes(value))) wrong.push(path);
  }
  return [...wrong, ...[...commandLines].filter((line) => secret.some((value) => line.includes(value)))];
}

test("the ssh and kubectl commands that status prints work as they are typed", () => {
  expect(tried[0]).toContain("k3s-cp-01");
  expect(tried[1]).toBe("k3s-cp-01");
});

test("no token and no private key in files that others may read, in logs, or in the process list", () => {
  expect(searched, "files searched").toBeGreaterThan(5);
  expect(
    [...commandLines].some((line) => line.includes("qemu-system")),
    "the guests were seen",
  ).toBe(true);
  expect(exposed).toEqual([]);
});

test("two at once of one cluster: the second is told who is at work", () => {
  expect(second.code).toBe(1);
  expect(second.stderr).toContain("another kpi");
});

test("rebuild: the identical plan, names, addresses and MACs", () => {
  expect({ plan: after.plan, nodes: after.nodes }).toEqual({ plan: before.plan, nodes: before.nodes });
});

test("rebuild: a new machine-id, new host keys, a new certificate authority", () => {
  expect(before.identities.length, "identities").toBe(3);
  expect(
    after.identities.filter((identity) => before.identities.includes(identity)),
    "identities kept",
  ).toEqual([]);
});

test("rebuild: the same image, which was not built again", () => {
  expect(after.image).toBe(before.image);
  expect(after.packer, "Packer ran").toBe(false);
});

test("destroy: no process, mount, lab, cluster or intent is left", async () => {
  expect(leaks).toEqual([]);
  expect(await openLab(join(kpi.state, "labs", "rebuild"))).toBeUndefined();
});

test("destroy: the image is kept", async () => {
  const images = JSON.parse((await kpi.succeed(["image", "--json"])).stdout) as { name: string; key: string }[];
  expect(JSON.stringify(images)).toContain(before.image.slice(0, 12));
});
