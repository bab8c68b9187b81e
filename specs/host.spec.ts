import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { kpiPaths, minutes, notYet, run, seconds, testKpi, type TestKpi, until } from "../harness/kit.ts";
import { destroyLab, type RunningLab, startLab } from "../harness/lab/lab.ts";
import { type Declared, declare } from "../harness/run/journal.ts";
import { findProgram } from "../harness/tools/environment.ts";
import { type RunningCommand, start } from "../harness/tools/exec.ts";
import { singleNodeSpec } from "./single-node.ts";

// The same pipeline where libvirt is no lab's: on a hypervisor, and from a laptop that reaches the hypervisor by ssh and its guests not at
// all. Both machines are stand-ins, network namespaces of this one: the hypervisor's is a lab's, whose libvirtd, guest network and file
// server are taken for its own. kpi works in either, and knows nothing of a lab.

setDefaultTimeout(minutes(30));
const sshd = findProgram("sshd");
const dir = mkdtempSync(join(tmpdir(), "kpi-host-"));
const machine = join(dir, "machine");
/** Of whoever calls kpi. The provider looks for keys and known hosts below it; ssh itself goes by the account, so by its configuration here. */
const home = join(dir, "home");
const keys = join(home, ".ssh");
const sshConfig = join(dir, "ssh_config");
const pool = join(dir, "pool");
const node = "k3s-cp-01";
const address = { hypervisor: "10.99.0.1", laptop: "10.99.0.2" };
const spec = singleNodeSpec(dir, "hosted", { k3s: "{ mirror: http://mirror.example/ }" });
let hypervisor: RunningLab;
const others: RunningCommand[] = [];
let intent: Declared;

const inNetwork = (pid: number): readonly string[] => ["nsenter", `--net=/proc/${pid}/ns/net`];

/** Runs what follows in a machine's network, with files and directories of its own at the usual places (`[this, there]`), below /run or there already. */
function inMachine(pid: number, ...places: readonly (readonly [string, string])[]): readonly string[] {
  const mounts = places.map(([from, to]) => `[ -e '${to}' ] || mkdir '${to}'\nmount --bind '${from}' '${to}'`);
  const script = ["mount -t tmpfs none /run", "mkdir /run/sshd", ...mounts, `export HOME='${home}'`, 'exec "$@"'];
  return [...inNetwork(pid), "unshare", "--mount", "sh", "-ec", script.join("\n"), "sh"];
}

const onHypervisor = () => {
  const own = ["run/libvirt", "etc/libvirt"].map(
    (place) => [join(hypervisor.dir, dirname(place)), `/${place}`] as const,
  );
  return inMachine(hypervisor.pid, ...own);
};
const onLaptop = () => inMachine(others[0]?.pid ?? 0, [sshConfig, "/etc/ssh/ssh_config"]);
const virsh = async (...args: string[]) =>
  (await run("virsh", ["--quiet", "-c", hypervisor.uri, ...args])).stdout.trim();

function begin(words: readonly string[]): RunningCommand {
  const [program = "", ...args] = words;
  const running = start(program, args, { tied: true });
  others.push(running);
  return running;
}

async function within(pid: number, ...words: string[]): Promise<void> {
  const [program = "", ...args] = [...inNetwork(pid), ...words];
  await run(program, args);
}

beforeAll(async () => {
  intent = declare(kpiPaths().state, { kind: "state", path: machine });
  for (const made of [join(machine, "labs"), keys, pool]) mkdirSync(made, { recursive: true, mode: 0o700 });
  const known = JSON.parse((await run("./kpi", ["supplies", "--json"])).stdout) as {
    name: string;
    files: Record<string, { path: string }>;
  }[];
  const files = known.find(({ name }) => name === "k3s-lab")?.files ?? {};
  hypervisor = await startLab({
    name: "machine",
    dir: join(machine, "labs", "machine"),
    network: { name: "default", cidr: "192.168.122.0/24", gateway: "192.168.122.1", dns: ["192.168.122.1"] },
    names: { "mirror.example": "192.168.122.1" },
    files: Object.fromEntries(Object.entries(files).map(([name, { path }]) => [`/${name}`, path])),
    accelerator: "tcg",
    cacheDir: join(kpiPaths().cache, "libvirt"),
  });
  await virsh("pool-define-as", "libvirt_images", "dir", "--target", pool);
  await virsh("pool-start", "libvirt_images");
  await virsh("pool-autostart", "libvirt_images");
  const laptop = begin(["unshare", "--net", "sleep", "infinity"]);
  await until("the laptop has no network of its own", seconds(10), () => {
    if (namespace(laptop.pid) === namespace(process.pid)) notYet("not yet");
  });
  const pair = ["ip", "link", "add", "uplink", "type", "veth", "peer", "name", "uplink", "netns", String(laptop.pid)];
  await within(hypervisor.pid, ...pair);
  for (const [pid, own] of [
    [hypervisor.pid, address.hypervisor],
    [laptop.pid, address.laptop],
  ] as const) {
    await within(pid, "ip", "address", "add", `${own}/24`, "dev", "uplink");
    for (const device of ["lo", "uplink"]) await within(pid, "ip", "link", "set", device, "up");
  }
  if (sshd !== undefined) await openSsh(sshd);
});

const namespace = (pid: number) => statSync(`/proc/${pid}/ns/net`).ino;

/** An sshd of the hypervisor's, which lets the laptop's root in, and whose host key the laptop knows. */
async function openSsh(program: string): Promise<void> {
  const [ours, theirs] = [join(keys, "id_rsa"), join(dir, "host_key")];
  for (const file of [ours, theirs]) await run("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-f", file]);
  copyFileSync(`${ours}.pub`, join(dir, "authorized_keys"));
  const [type = "", base64 = ""] = readFileSync(`${theirs}.pub`, "utf8").split(" ");
  writeFileSync(sshConfig, `IdentityFile ${ours}\nUserKnownHostsFile ${join(keys, "known_hosts")}\n`);
  writeFileSync(join(keys, "known_hosts"), `${address.hypervisor} ${type} ${base64}\n`);
  const config = {
    ListenAddress: address.hypervisor,
    HostKey: theirs,
    AuthorizedKeysFile: join(dir, "authorized_keys"),
    StrictModes: "no", // it lies in /tmp
    PermitRootLogin: "yes",
    UsePAM: "no",
    PidFile: "none",
  };
  const words = Object.entries(config).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
  begin([...onHypervisor(), program, "-D", "-f", "/dev/null", ...words]);
  await until("sshd does not answer", seconds(20), async () => {
    const [command = "", ...args] = [...onLaptop(), "ssh", "-o", "BatchMode=yes", `root@${address.hypervisor}`, "true"];
    const { code, stderr } = await run(command, args, { accept: [0, 255] });
    if (code !== 0) notYet(stderr);
  });
}

afterAll(async () => {
  for (const running of others.reverse()) await running.stop();
  await destroyLab(join(machine, "labs", "machine")); // also of one that did not come up
  rmSync(dir, { recursive: true, force: true });
  intent.settle();
});

/** Makes the cluster, uses it in each way that a person has, and removes it. */
function itWorks(kpi: TestKpi, host: string): void {
  let said = "";

  beforeAll(async () => {
    said = (await kpi.succeed(["up", spec, "--host", host])).stdout;
  });
  afterAll(() => kpi[Symbol.asyncDispose](), minutes(5));

  test("up makes it: each step of the node is seen on its console, and nothing is of a lab", async () => {
    for (const step of ["interface", "dns", "artefact", "service", "ready"])
      expect(said).toMatch(new RegExp(`${node}: ${step} ok`));
    expect(said).toContain("mirror.example is 192.168.122.1");
    expect(await virsh("list", "--name")).toBe(node);
    const { uri, phase, nodes } = JSON.parse((await kpi.succeed(["status", "--json"])).stdout);
    expect({ uri, phase }).toEqual({ uri: host, phase: "ready" });
    expect(nodes).toMatchObject([{ name: node, domain: "running", kubelet: "Ready" }]);
  });

  test("kubectl and ssh reach it, and up says that it is unchanged", async () => {
    expect((await kpi.succeed(["kubectl", "get", "nodes", "-o", "name"])).stdout).toBe(`node/${node}`);
    expect((await kpi.succeed(["ssh", node, "--", "hostname"])).stdout).toBe(node);
    expect((await kpi.succeed(["up", spec, "--host", host])).stdout).toContain("is running and unchanged");
  });

  test("down removes machines and disks, and leaves the pool", async () => {
    expect((await kpi.succeed(["down", "hosted"])).stdout).toContain("terraform destroyed");
    expect(await virsh("list", "--all", "--name")).toBe("");
    expect(await virsh("vol-list", "libvirt_images")).toBe("");
  });
}

describe("on a hypervisor", () => itWorks(testKpi({ within: onHypervisor }), "qemu:///system"));

describe.if(sshd !== undefined)(
  `from a laptop${sshd === undefined ? " (there is no sshd here: apt-get install openssh-server)" : ""}`,
  () => {
    const host = `qemu+ssh://root@${address.hypervisor}/system`;
    itWorks(testKpi({ within: onLaptop }), host);

    test("a hypervisor that lets nobody in is the one thing that doctor says of it", async () => {
      const kpi = testKpi({ within: onLaptop });
      const { code, stdout } = await kpi.run(["doctor", "--host", host.replace("root@", "nobody@"), "--json"]);
      await kpi[Symbol.asyncDispose]();
      expect(code).toBe(1);
      const bad = (JSON.parse(stdout) as { id: string; outcome: string; needed: boolean }[]).filter(
        ({ outcome, needed }) => outcome !== "ok" && needed,
      );
      expect(bad).toMatchObject([{ id: "ssh" }]);
    });
  },
);
