import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { notYet, orAborted, until } from "../harness/core/deadline.ts";
import { milliseconds, seconds } from "../harness/core/duration.ts";
import { KpiError } from "../harness/core/errors.ts";
import { payload } from "../harness/lab/accelerator.ts";
import { destroyLab, findLabs, type LabOptions, openLab, type RunningLab, startLab } from "../harness/lab/lab.ts";
import { type LabIdentity, labProcesses, processesIn } from "../harness/lab/process.ts";
import { run, start } from "../harness/tools/exec.ts";
import { Libvirt } from "../harness/tools/libvirt.ts";
import { connectThrough, type Proxy } from "../harness/tools/tunnel.ts";

setDefaultTimeout(seconds(20));
const state = mkdtempSync(join(tmpdir(), "kpi lab-"));
const gateway = "192.168.122.1";
const name = "artifacts.kpi.test";

/** Every lab of this file has the same addresses; what it serves tells them apart. */
function options(lab: string): LabOptions {
  const served = join(state, `${lab}.txt`);
  writeFileSync(served, `served by ${lab}\n`);
  return {
    name: lab,
    dir: join(state, "labs", lab),
    network: { name: "default", cidr: "192.168.122.0/24", gateway, dns: ["8.8.8.8", "1.1.1.1"] },
    names: { [name]: gateway },
    files: { "/file": served },
    accelerator: "tcg",
    shares: { shared: state },
    cacheDir: join(state, "cache"),
  };
}

const labs: Record<string, RunningLab> = {};
const lab = (which: "one" | "two"): RunningLab => {
  const found = labs[which];
  if (found === undefined) throw new Error(`lab ${which} did not start`);
  return found;
};
const mountsBefore = hostMounts();

beforeAll(async () => {
  const started = await Promise.all(["one", "two"].map((which) => startLab(options(which))));
  for (const running of started) labs[running.name] = running;
});

afterAll(async () => {
  for (const found of findLabs(state)) await destroyLab(found.dir);
  rmSync(state, { recursive: true, force: true });
});

function hostMounts(): string {
  return readFileSync("/proc/self/mounts", "utf8");
}

/** What is left of a lab on this machine, its own directory apart. */
function remains(dir: string, identity?: LabIdentity): unknown[] {
  const processes = labProcesses().filter((found) => found.dir === dir);
  const inside = identity === undefined ? [] : processesIn(identity);
  return [...processes, ...inside, ...(hostMounts() === mountsBefore ? [] : ["mounts changed"])];
}

function identityOf(dir: string): LabIdentity {
  return JSON.parse(readFileSync(join(dir, "running.json"), "utf8")) as LabIdentity;
}

/** An HTTP request to the gateway through a lab's proxy; the status of the first line that comes back, and the rest. */
async function get(proxy: Proxy, target: string, secret = proxy.secret): Promise<string> {
  const user = `${proxy.user}:${secret}`;
  const url = `http://${target}/file`;
  const told = "%{http_connect} %{http_code}";
  const curl = [
    "--silent",
    "--proxytunnel",
    "--proxy",
    `http://${proxy.host}:${proxy.port}`,
    "--proxy-user",
    user,
    "--write-out",
    told,
    url,
  ];
  return (await run("curl", curl, { accept: [0, 56, 97], timeout: seconds(10) })).stdout;
}

test("two labs with the same addresses live side by side, each its own", async () => {
  expect(await get(lab("one").proxy, gateway)).toBe("served by one\n200 200");
  expect(await get(lab("two").proxy, gateway)).toBe("served by two\n200 200");
  const [one, two] = [identityOf(lab("one").dir), identityOf(lab("two").dir)];
  for (const kind of ["pid", "mnt", "net"] as const) {
    expect(new Set([one.namespaces[kind], two.namespaces[kind], readlinkSync(`/proc/self/ns/${kind}`)]).size).toBe(3);
  }
});

test("a stranger gets 407, a foreign address 403, and another lab's secret opens nothing", async () => {
  expect(await get(lab("one").proxy, gateway, "guess")).toBe("407 000");
  expect(await get(lab("one").proxy, gateway, lab("two").proxy.secret)).toBe("407 000");
  expect(await get(lab("one").proxy, "127.0.0.1")).toBe("403 000");
  expect(readFileSync(join(lab("one").dir, "lab.log"), "utf8")).not.toContain(lab("one").proxy.secret);
});

test("a tunnel carries a part of a file", async () => {
  const socket = await connectThrough(lab("one").proxy, gateway, 80);
  const { promise, resolve } = Promise.withResolvers<string>();
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk)).on("end", () => resolve(Buffer.concat(chunks).toString()));
  socket.write("GET /file HTTP/1.1\r\nHost: x\r\nRange: bytes=10-12\r\nConnection: close\r\n\r\n");
  expect(await promise).toMatch(/^HTTP\/1\.1 206 [^]*\r\n\r\none$/);
});

test("its resolvers know the names given, and nothing else exists", async () => {
  const ask = `const dns = require("node:dns").promises;
    const at = (server, name) => { const r = new dns.Resolver({ timeout: 2000, tries: 1 }); r.setServers([server]); return r.resolve4(name).catch((e) => e.code); };
    console.log(JSON.stringify(await Promise.all([at("8.8.8.8", "${name}"), at("1.1.1.1", "${name}"), at("${gateway}", "${name}"), at("8.8.8.8", "example.com")])))`;
  const { stdout } = await lab("one").enter(process.execPath, ["-e", ask]);
  expect(JSON.parse(stdout)).toEqual([[gateway], [gateway], [gateway], "ENOTFOUND"]);
});

test("there is no way out of it, and nothing of the host in it", async () => {
  const links = await lab("one").enter("ip", ["-o", "link"]);
  expect(links.stdout.split("\n").map((line) => line.split(": ")[1])).toEqual(["lo", "virbr0"]);
  expect((await lab("one").enter("ip", ["route", "show", "default"])).stdout).toBe("");
  expect((await lab("one").enter("ls", ["/run/systemd"], { accept: [0, 2] })).code).toBe(2);
  const write = await lab("one").enter("touch", ["/var/lib/libvirt/shares/shared/x"], { accept: [0, 1] });
  expect(write.stderr).toContain("Read-only file system");
  const devices = (await lab("one").enter("find", ["/dev", "-type", "c", "-o", "-type", "b"])).stdout.split("\n");
  const words = ["null", "zero", "full", "random", "urandom", "tty", "net/tun", "pts/ptmx"].map(
    (name) => `/dev/${name}`,
  );
  expect(devices.sort()).toEqual(words.sort());
});

test("libvirt starts a guest in it and tells what becomes of it", async () => {
  const { uri, poolDir } = lab("one");
  const libvirt = new Libvirt(uri);
  expect(await libvirt.domains()).toEqual([]);
  writeFileSync(join(poolDir.host, "probe.img"), payload);
  const xml = `<domain type="qemu" xmlns:qemu="http://libvirt.org/schemas/domain/qemu/1.0">
    <name>probe</name><memory unit="MiB">32</memory><vcpu>1</vcpu>
    <os><type arch="x86_64" machine="pc">hvm</type><boot dev="fd"/></os>
    <devices>
      <disk type="file" device="floppy"><driver name="qemu" type="raw"/><source file="${poolDir.inside}/probe.img"/><target dev="fda"/></disk>
      <interface type="network"><source network="default"/><model type="virtio"/></interface>
      <graphics type="vnc"><listen type="none"/></graphics><video><model type="none"/></video>
    </devices>
    <qemu:commandline><qemu:arg value="-device"/><qemu:arg value="isa-debug-exit,iobase=0xf4,iosize=1"/></qemu:commandline>
  </domain>`;
  const file = join(state, "probe.xml");
  writeFileSync(file, xml);
  const seen: string[] = [];
  const watching = (async () => {
    for await (const event of libvirt.events(AbortSignal.timeout(15_000))) {
      seen.push(`${event.kind} ${event.detail}`);
      if (event.lost !== undefined) return event.lost;
    }
    return undefined;
  })();
  // virsh says nothing when it has begun to listen, so the guest is started paused and let go when that was seen
  await run("virsh", ["-c", uri, "create", file, "--paused"], { timeout: seconds(15) });
  await until("virsh listens", seconds(10), async () => {
    await run("virsh", ["-c", uri, "suspend", "probe"], { accept: [0, 1] });
    await run("virsh", ["-c", uri, "resume", "probe"], { accept: [0, 1] });
    return seen.length > 0 ? undefined : notYet("no event");
  });
  expect(await watching).toContain("its domain ended");
  expect(seen.some((line) => line.startsWith("lifecycle Resumed"))).toBe(true);
  expect(await libvirt.domains()).toEqual([]);
});

test("what runs in it ends with an abort, whatever it does with signals", async () => {
  const stop = new AbortController();
  const marker = `sleep 61.${process.pid}`;
  const work = lab("one").enter("sh", ["-c", `trap '' TERM; ${marker} & wait`], { signal: stop.signal });
  await until("it runs", seconds(5), async () => (await running(`^${marker}`)) || notYet("not yet"));
  stop.abort(new Error("enough"));
  expect(await work.then(String, (error: Error) => error.message)).toBe("enough");
  expect(await running(marker)).toBe(false);
});

async function running(pattern: string): Promise<boolean> {
  return (await run("pgrep", ["-f", pattern], { accept: [0, 1] })).code === 0;
}

test("a second start of a running lab is refused and leaves the first alone", async () => {
  const error = await startLab(options("one")).then(
    () => undefined,
    (reason: unknown) => reason as KpiError,
  );
  expect(error?.what).toContain("running already");
  expect((await openLab(lab("one").dir))?.pid).toBe(lab("one").pid);
});

test("openLab finds it from its directory alone", async () => {
  const opened = await openLab(lab("two").dir);
  expect(opened).toMatchObject({ name: "two", uri: lab("two").uri, proxy: lab("two").proxy });
  expect(await openLab(join(state, "labs", "none"))).toBeUndefined();
});

test("SIGKILL of its init leaves nothing but its files, and those are found and removed", async () => {
  const { dir, pid } = lab("two");
  const identity = identityOf(dir);
  expect(processesIn(identity).length).toBeGreaterThan(3);
  process.kill(pid, "SIGKILL");
  await until("the kernel cleans up", seconds(5), () =>
    remains(dir, identity).length > 0 ? notYet("not yet") : undefined,
  );
  expect(await openLab(dir)).toBeUndefined();
  expect(findLabs(state)).toContainEqual({ name: "two", dir, state: "dead" });
  await destroyLab(dir);
  expect(existsSync(dir)).toBe(false);
});

test("when one of its daemons ends, all of it ends, and its log says which", async () => {
  const { dir } = await startLab(options("fragile"));
  const identity = identityOf(dir);
  const dnsmasq = processesIn(identity).find((pid) => readFileSync(`/proc/${pid}/comm`, "utf8") === "dnsmasq\n");
  process.kill(dnsmasq ?? -1, "SIGKILL");
  await until("it ends", seconds(5), () => (remains(dir, identity).length > 0 ? notYet("not yet") : undefined));
  expect(readFileSync(join(dir, "lab.log"), "utf8")).toContain("dnsmasq ended with exit code 137");
  await destroyLab(dir);
});

test.each([0, 30, 60, 120, 250, 400])("an abort %i ms into its start leaves nothing", async (after) => {
  const dir = join(state, "labs", "aborted");
  const timer = AbortSignal.timeout(after);
  const stop = new AbortController();
  timer.addEventListener("abort", () => stop.abort(new KpiError("interrupted", "stopped")));
  const error = await startLab({ ...options("aborted"), signal: stop.signal }).then(
    (up) => up.destroy(),
    (reason: unknown) => reason as KpiError,
  );
  if (error !== undefined) expect(error.what).toBe("stopped");
  expect(existsSync(dir)).toBe(false);
  expect(remains(dir)).toEqual([]);
});

test.each([80, 120, 180, 300, 500])(
  "SIGKILL of the harness %i ms into a start leaves what destroyLab removes",
  async (after) => {
    const dir = join(state, "labs", "orphan");
    const code = `import { startLab } from ${JSON.stringify(join(import.meta.dir, "../harness/lab/lab.ts"))};
    await startLab(${JSON.stringify(options("orphan"))}); await new Promise(() => setInterval(() => {}, 60_000));`;
    const harness = start(process.execPath, ["-e", code], { accept: [0, 137] });
    const limit = AbortSignal.timeout(after);
    await orAborted(limit, harness.done).catch(() => {});
    process.kill(harness.pid, "SIGKILL");
    await harness.done.catch(() => {});
    await destroyLab(dir);
    expect(existsSync(dir)).toBe(false);
    expect(remains(dir)).toEqual([]);
  },
);

test("a lab whose files are gone is still found, and ended", async () => {
  const { dir } = await startLab(options("lost"));
  const identity = identityOf(dir);
  for (const entry of readdirSync(dir)) if (entry.endsWith(".json")) rmSync(join(dir, entry));
  expect(findLabs(state)).toContainEqual({ name: "lost", dir, state: "half" });
  await destroyLab(dir);
  expect(remains(dir, identity)).toEqual([]);
});

test("what the host unmounts is not held by a lab", async () => {
  const disk = join(state, "borrowed");
  mkdirSync(disk);
  const code = `import { readFileSync } from "node:fs";
    import { startLab } from ${JSON.stringify(join(import.meta.dir, "../harness/lab/lab.ts"))};
    import { run } from ${JSON.stringify(join(import.meta.dir, "../harness/tools/exec.ts"))};
    const disk = ${JSON.stringify(disk)};
    await run("mount", ["--make-rshared", "/"]); // as systemd has it
    await run("mount", ["-t", "tmpfs", "disk", disk]);
    await using lab = await startLab(${JSON.stringify(options("guest"))});
    const holds = () => readFileSync("/proc/" + lab.pid + "/mountinfo", "utf8").includes("/borrowed ");
    const before = holds();
    await run("umount", [disk]);
    console.log(before, holds());`;
  const { stdout } = await run("unshare", ["--mount", process.execPath, "-e", code]);
  expect(stdout).toBe("true false");
});

test("what cannot work is said before anything is made", async () => {
  const long = join(state, "x".repeat(80), "labs", "one");
  const wrong = { ...options("wrong"), files: { "/file": "/nowhere" } };
  for (const [bad, what] of [
    [{ ...options("one"), dir: long }, "path of its libvirt socket"],
    [wrong, "does not exist"],
  ] as const) {
    const error = await startLab(bad).then(
      () => undefined,
      (reason: unknown) => reason as KpiError,
    );
    expect(error?.what).toContain(what);
    expect(existsSync(bad.dir)).toBe(false);
  }
});

test("it starts in less than two seconds and its daemons are small", async () => {
  const began = performance.now();
  await using quick = await startLab(options("quick"));
  expect(performance.now() - began).toBeLessThan(milliseconds(2_000));
  const resident = processesIn(identityOf(quick.dir)).map((pid) =>
    Number(/^Rss:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))?.[1] ?? 0),
  );
  expect(resident.reduce((sum, size) => sum + size, 0) / 1_024).toBeLessThan(150);
});
