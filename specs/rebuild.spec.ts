import { afterAll, beforeAll, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, milliseconds, minutes, notYet, openLab, run, seconds, testKpi, until } from "../harness/kit.ts";
import { printed } from "./inner-suites.ts";
import { leaksOf } from "./leaks.ts";

setDefaultTimeout(minutes(30));
const kpi = testKpi();
afterAll(() => kpi[Symbol.asyncDispose]());

/** The two nodes of specs/pair.yaml: from their checkpoint where one fits, because it is the second start that is judged. */
const spec = "pair";
const own = "cat /etc/machine-id; cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub";
const authority = "sudo sha256sum /var/lib/rancher/k3s/server/tls/server-ca.crt | cut -c1-64";

interface Seen {
  readonly plan: string;
  readonly nodes: readonly string[];
  /** Machine-ids and host keys of all nodes, and the cluster's certificate authority. */
  readonly identities: readonly string[];
  readonly image: string;
  readonly packer: boolean;
}

/** What a cluster is that has just been made. */
async function look(): Promise<Seen> {
  const status = JSON.parse((await kpi.succeed(["status", "--json"])).stdout);
  const cluster = JSON.parse(readFileSync(join(kpi.state, "clusters", spec, "cluster.json"), "utf8"));
  const identities: string[] = [];
  for (const { name, role } of status.nodes) {
    const asked = role === "server" ? `${own}; ${authority}` : own;
    identities.push(...(await kpi.succeed(["ssh", name, "--", asked])).stdout.split("\n"));
  }
  return {
    plan: status.plan,
    nodes: status.nodes.map((node: Record<string, string>) => `${node["name"]} ${node["address"]} ${node["mac"]}`),
    identities,
    image: cluster.image,
    packer: existsSync(join(kpi.state, "runs", cluster.run, "packer.log")),
  };
}

interface Traced {
  readonly missing: readonly string[];
  /** How each guest's clock was measured. */
  readonly clocks: Readonly<Record<string, string>>;
  /** The names of the rows that hold something, by process. */
  readonly rows: Readonly<Record<string, readonly string[]>>;
}

/** The trace of the run that has just ended, of nodes that still run. */
async function trace(): Promise<Traced> {
  const told = JSON.parse((await kpi.succeed(["trace", "--json"])).stdout);
  const { traceEvents } = JSON.parse(readFileSync(told.trace, "utf8"));
  const named = (what: string, key: (event: any) => string) =>
    Object.fromEntries(
      traceEvents.flatMap((event: any) =>
        event.ph === "M" && event.name === what ? [[key(event), event.args.name]] : [],
      ),
    );
  const processes = named("process_name", ({ pid }) => pid);
  const threads = named("thread_name", ({ pid, tid }) => `${pid}/${tid}`);
  const rows: Record<string, string[]> = {};
  for (const { ph, pid, tid } of traceEvents) {
    const of = (rows[processes[pid]] ??= []);
    if (ph !== "M" && !of.includes(threads[`${pid}/${tid}`])) of.push(threads[`${pid}/${tid}`]);
  }
  const clocks = told.guests.map(({ node, how }: Record<string, string>) => [node, how]);
  return { missing: told.missing, clocks: Object.fromEntries(clocks), rows };
}

/** Runs kpi. Everything that it, its tools and its daemons show in the process list meanwhile. */
async function watched(args: readonly string[]): Promise<ReadonlySet<string>> {
  const lines = new Set<string>();
  let ended = false;
  const { done: running } = await kpi.start(args);
  const done = running.finally(() => (ended = true));
  await until(
    "it ends",
    minutes(20),
    () => {
      for (const pid of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
        for (const file of ["cmdline", "environ"]) {
          try {
            lines.add(readFileSync(`/proc/${pid}/${file}`, "utf8").replaceAll("\0", " "));
          } catch {} // gone
        }
      }
      if (!ended) notYet("it runs");
    },
    { every: milliseconds(300) },
  );
  const { code, stderr } = await done;
  expect(code, printed(stderr)).toBe(0);
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
let traced: Traced;
beforeAll(async () => {
  await kpi.succeed(["up", spec, "--warm"]);
  before = await look();
  use = JSON.parse((await kpi.succeed(["status", "--json"])).stdout).use;
  tried = [(await run("sh", ["-c", use.kubectl])).stdout, (await run("sh", ["-c", `${use.ssh} hostname`])).stdout];
  const rebuilding = watched(["rebuild", spec]);
  rebuilding.catch(() => {}); // told when it is waited for
  const lock = join(kpi.state, "locks", `${spec}.lock`);
  await until("the first has the lock", seconds(30), () => existsSync(lock) || notYet("no lock yet"));
  second = await kpi.run(["up", spec]);
  commandLines = await rebuilding;
  traced = await trace();
  exposed = searchSecrets();
  after = await look();
  await kpi.succeed(["down"]);
  leaks = leaksOf(kpi);
}, minutes(30));

/** The secrets of the cluster, as text that can be searched for. */
function secrets(): string[] {
  const dir = join(kpi.state, "clusters", spec, "secrets");
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
  expect(before.identities.length, "identities").toBe(5);
  expect(
    after.identities.filter((identity) => before.identities.includes(identity)),
    "identities kept",
  ).toEqual([]);
});

test("rebuild: the same image, which was not built again", () => {
  expect(after.image).toBe(before.image);
  expect(after.packer, "Packer ran").toBe(false);
});

test("trace: all that happened in the cold start, on one clock: stages, Terraform, libvirt, each node's own boot and journal, the API's events", () => {
  expect(traced.missing).toEqual([]);
  expect(traced.clocks).toEqual({ "k3s-cp-01": "ssh", "k3s-worker-01": "ssh" });
  expect(Object.keys(traced.rows)).toEqual(expect.arrayContaining(["harness", "terraform", "libvirt", "kubernetes"]));
  for (const node of Object.keys(traced.clocks)) {
    const own = ["console", "first boot", "cloud-init", "cloud-init modules", "k3s journal"];
    expect(traced.rows[`node ${node}`], `rows of ${node}`).toEqual(expect.arrayContaining(own));
    expect(traced.rows["libvirt"]).toContain(node);
  }
});

test("destroy: no process, mount, lab, cluster or intent is left", async () => {
  expect(leaks).toEqual([]);
  expect(await openLab(join(kpi.state, "labs", spec))).toBeUndefined();
});

test("destroy: the image is kept", async () => {
  const images = JSON.parse((await kpi.succeed(["image", "--json"])).stdout) as { name: string; key: string }[];
  expect(JSON.stringify(images)).toContain(before.image.slice(0, 12));
});
