import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import {
  type Access,
  ClusterDir,
  during,
  type Fault,
  faultsInForce,
  type Invariant,
  milliseconds,
  minutes,
  type NetworkFaults,
  networkFaults,
  nodeFaults,
  notYet,
  openAccess,
  run,
  seconds,
  testKpi,
  until,
} from "../harness/kit.ts";
import { GuestAgent } from "../harness/tools/guest-agent.ts";
import { failingOnFork, printed } from "./inner-suites.ts";

setDefaultTimeout(minutes(20));
const kpi = testKpi();
afterAll(() => kpi[Symbol.asyncDispose]());

/** A Ready cluster in a lab, from a checkpoint where one fits. The one place that knows where it comes from. */
async function readyCluster(): Promise<Access> {
  await kpi.succeed(["up", "lab", "--warm"]);
  return (await openAccess(new ClusterDir(kpi.state, "kpi"))).access;
}

const server = "k3s-cp-01";
const worker = "k3s-worker-01";
let access: Access;
let network: NetworkFaults;
beforeAll(async () => {
  access = await readyCluster();
  network = networkFaults(access);
});

/** Runs a command on a node over ssh, the way a user does; gives what it printed, whatever its exit code. */
async function on(node: string, command: string): Promise<string> {
  const options = ["-F", access.sshConfigPath, "-o", "ConnectTimeout=20"];
  return (await run("ssh", [...options, node, command], { accept: codes, timeout: minutes(2) })).stdout.trim();
}
const codes = Array.from({ length: 256 }, (_, code) => code);

/**
 * What ping says of the way from a node to an address: percent lost, and the average round trip in milliseconds. Asked by the node's agent: ssh
 * would take the very way that is broken, and where most is lost that can be minutes.
 */
async function ping(from: string, to: string, count: number) {
  const agent = new GuestAgent(access.libvirt, from);
  const limits = { accept: codes, timeout: minutes(2) };
  const { stdout: said } = await agent.sh(`ping -n -q -c ${count} -i 0.05 -W 2 ${to}`, limits);
  const lost = Number(/([\d.]+)% packet loss/.exec(said)?.[1] ?? Number.NaN);
  return { lost, average: Number(/= [\d.]+\/([\d.]+)\//.exec(said)?.[1] ?? Number.NaN) };
}

/** How far a node's clock is ahead of this machine's, in seconds: by when its line arrives, because ssh itself takes seconds on a busy machine. */
async function clockOffset(node: string): Promise<number> {
  let offset = Number.NaN;
  const onLine = (line: string) => (offset = Number(line) - Date.now() / 1_000);
  await run("ssh", ["-F", access.sshConfigPath, node, "date +%s.%N"], { onLine, timeout: minutes(2) });
  return offset;
}

/** Whether a node's sshd greets, asked from the lab's own network. */
async function answers(node: string): Promise<boolean> {
  const greet = `exec 3<>/dev/tcp/${address(node)}/22 && head -c 4 <&3`;
  const result = await access.lab?.enter("timeout", ["8", "bash", "-c", greet], { accept: codes });
  return result?.stdout === "SSH-";
}

const address = (node: string) => access.node(node).address;
const gateway = () => access.plan.network.gateway;
const allReady = () =>
  access.kube().waitForNodes(
    access.plan.nodes.map(({ name }) => name),
    { deadline: minutes(5) },
  );

/** What a fault leaves in the lab's network when it is gone: nothing. */
async function rules(): Promise<string[]> {
  const said = await Promise.all([access.lab?.enter("iptables-save", []), access.lab?.enter("ebtables", ["-L"])]);
  return said.flatMap((result) => (result?.stdout ?? "").split("\n").filter((line) => line.includes("kpi-")));
}
const journal = () => {
  const path = join(access.cluster.stateDir, "journal");
  const entries = existsSync(path) ? readdirSync(path).map((file) => readFileSync(join(path, file), "utf8")) : [];
  return entries.filter((entry) => entry.includes('"fault"'));
};

/** Heals, and says that nothing is left of it: no rule, no entry in the journal. */
async function healed(fault: Fault): Promise<void> {
  await fault.heal();
  await fault.heal(); // once more changes nothing
  expect(await rules()).toEqual([]);
  expect(journal()).toEqual([]);
  expect(faultsInForce(access.cluster.name)).toEqual([]);
}

describe("network", () => {
  test("a partition: not one packet between the two; both reach the gateway, and are reached from here", async () => {
    expect(await ping(worker, address(server), 5)).toMatchObject({ lost: 0 });
    await using fault = await network.partition(server, worker);
    expect(fault.what).toBe(`partition between ${server} and ${worker}`);
    expect(faultsInForce(access.cluster.name)).toEqual([fault.what]);
    expect(await ping(worker, address(server), 5)).toMatchObject({ lost: 100 });
    expect(await ping(server, address(worker), 5)).toMatchObject({ lost: 100 });
    expect(await ping(worker, gateway(), 5)).toMatchObject({ lost: 0 });
    expect(await ping(server, gateway(), 5)).toMatchObject({ lost: 0 });
    await healed(fault);
    expect(await ping(worker, address(server), 5)).toMatchObject({ lost: 0 });
  });

  test("a delay: the round trip is longer by it, and as before afterwards", async () => {
    const before = (await ping(worker, gateway(), 10)).average;
    await using fault = await network.delay(worker, milliseconds(300), { jitter: milliseconds(10) });
    const during = (await ping(worker, gateway(), 10)).average;
    expect(during - before).toBeGreaterThan(200);
    expect(await network.delay(worker, milliseconds(10)).catch((error: Error) => error.message)).toContain(
      "a delay already",
    );
    await healed(fault);
    expect((await ping(worker, gateway(), 10)).average).toBeLessThan(during - 200);
  });

  test("a loss of 40 %: of pings, which pass twice, 64 % are lost, and none afterwards", async () => {
    await using fault = await network.loss(worker, 40);
    const { lost } = await ping(worker, gateway(), 200);
    expect(lost).toBeGreaterThan(45); // five standard deviations to either side
    expect(lost).toBeLessThan(82);
    const between = await ping(server, address(worker), 100); // what the bridge only passes on is lost as well
    expect(between.lost).toBeGreaterThan(35);
    await healed(fault);
    expect(await ping(worker, gateway(), 50)).toMatchObject({ lost: 0 });
    expect(await ping(server, address(worker), 50)).toMatchObject({ lost: 0 });
  });

  test("a link that is down: the node is out of reach, and in reach afterwards", async () => {
    await using fault = await network.linkDown(worker);
    expect(await answers(worker)).toBe(false);
    expect(await ping(server, address(worker), 5)).toMatchObject({ lost: 100 });
    await healed(fault);
    expect(await on(worker, "cat /sys/class/net/eth0/carrier")).toBe("1");
    expect(await ping(server, address(worker), 5)).toMatchObject({ lost: 0 });
  });

  test("dns that is down: no name resolves while addresses work", async () => {
    const name = access.plan.network.requiredNames[0] ?? "";
    const asks = `timeout 20 resolvectl query --cache=no --legend=no ${name} && echo answered`;
    const serves = `curl -sS -o /dev/null -w '%{http_code}' http://${gateway()}/`;
    expect(await on(worker, asks)).toContain("answered");
    await using fault = await network.dnsDown();
    expect(await on(worker, asks)).not.toContain("answered");
    expect(await on(worker, serves)).toBe("404"); // an answer, from that address
    await healed(fault);
    // systemd-resolved may prefer TCP for a moment after a server that was deaf.
    await until("a name resolves", seconds(60), async () => {
      if (!(await on(worker, asks)).includes("answered")) notYet("no answer");
    });
  });
});

describe("node", () => {
  test("a freeze: the domain stands still; afterwards it runs and has the time", async () => {
    await using fault = await nodeFaults(access, worker).freeze();
    expect((await access.libvirt.domain(worker))?.state).toBe("paused");
    expect(await answers(worker)).toBe(false); // which takes eight seconds: the clock would be slow by them
    expect(
      await nodeFaults(access, worker)
        .freeze()
        .catch((error: Error) => error.message),
    ).toContain("does not run");
    await healed(fault);
    expect(Math.abs(await clockOffset(worker))).toBeLessThan(2);
  });

  test("a full disk: df says 100 %, nobody can write; afterwards there is room", async () => {
    const write = "sudo sh -c 'head -c 1048576 /dev/zero > /var/tmp/kpi-room && echo written; rm -f /var/tmp/kpi-room'";
    const used = async () => Number(/(\d+)%/.exec(await on(worker, "df --output=pcent /"))?.[1]);
    expect(await used()).toBeLessThan(90);
    await using fault = await nodeFaults(access, worker).fillDisk();
    expect(await used()).toBe(100);
    expect(await on(worker, write)).not.toContain("written");
    await healed(fault);
    expect(await used()).toBeLessThan(90);
    expect(await on(worker, write)).toContain("written");
    expect(await on(worker, "sudo find / -xdev -name '.kpi-fault*'")).toBe("");
  });

  test("a wrong clock: fast by an hour, slow by ten minutes, and right afterwards", async () => {
    for (const wrong of [minutes(60), -minutes(10)]) {
      await using fault = await nodeFaults(access, worker).setClock(wrong);
      expect(Math.abs((await clockOffset(worker)) - wrong / 1_000)).toBeLessThan(2);
      await healed(fault);
      expect(Math.abs(await clockOffset(worker))).toBeLessThan(2);
    }
  });

  test("a killed unit: dead by SIGKILL, and it stays so; afterwards it is another process", async () => {
    const pid = () => on(worker, "systemctl show k3s-agent --property=MainPID --value");
    const before = await pid();
    await using fault = await nodeFaults(access, worker).killUnit();
    expect(await on(worker, "systemctl is-active k3s-agent")).toMatch(/^(inactive|failed)$/);
    expect(await on(worker, "sudo journalctl --unit k3s-agent --lines 30")).toContain("code=killed, status=9/KILL");
    expect(await on(worker, `test -e /proc/${before} && echo there`)).toBe("");
    await healed(fault);
    expect(await on(worker, "systemctl is-active k3s-agent")).toBe("active");
    expect(await pid()).not.toBe(before);
    await allReady();
  });

  test("a reboot of the server: another boot, all of its CPUs awake, Ready by itself", async () => {
    const boot = () => on(server, "cat /proc/sys/kernel/random/boot_id");
    const before = await boot();
    const cpus = await on(server, "nproc");
    expect(Number(cpus)).toBe(access.node(server).cpus);
    await using fault = await nodeFaults(access, server).reboot();
    await healed(fault);
    expect(await boot()).not.toBe(before);
    await until("all CPUs are awake", minutes(3), async () => {
      const seen = await on(server, "nproc");
      if (seen !== cpus) notYet(`${seen} of ${cpus}`);
    });
    await allReady();
  });

  test("a worker's power cut: NotReady, then boot, then Ready with the same address, version and volume data", async () => {
    const kube = access.kube();
    const before = (await kube.nodes()).find(({ name }) => name === worker);
    const claim = {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: { name: "kept", namespace: "default" },
      spec: {
        accessModes: ["ReadWriteOnce"],
        storageClassName: "local-path",
        resources: { requests: { storage: "10Mi" } },
      },
    };
    const user = (name: string, script: string) => ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name, namespace: "default" },
      spec: {
        restartPolicy: "Never",
        nodeName: worker,
        containers: [
          {
            name: "main",
            image: "kpi.lab/tools:1",
            imagePullPolicy: "Never",
            command: ["sh", "-c", script],
            volumeMounts: [{ name: "kept", mountPath: "/kept" }],
          },
        ],
        volumes: [{ name: "kept", persistentVolumeClaim: { claimName: "kept" } }],
      },
    });
    const done = (name: string) =>
      kube.waitForPods(
        "default",
        `${name} does not end well`,
        (pods) => {
          const pod = pods.find((found) => found.name === name);
          return pod?.phase === "Succeeded" ? undefined : (pod?.why ?? "it is not there");
        },
        { deadline: minutes(5) },
      );
    // nodeName goes past the scheduler, which would bind the volume: it is said by the claim where it is to be.
    const placed = {
      ...claim,
      metadata: { ...claim.metadata, annotations: { "volume.kubernetes.io/selected-node": worker } },
    };
    await kube.apply([placed, user("writer", "echo 'written before the cut' > /kept/file && sync")]);
    await done("writer");

    const api: Invariant = {
      what: "the API answers",
      async check(signal) {
        const { status } = await kube.request("/api/v1/namespaces/default", { signal });
        if (status !== 200) throw new Error(`it says ${status}`);
      },
    };
    const { value: after } = await during(
      api,
      async (step) => {
        await using fault = await step("cut the worker's power", () => nodeFaults(access, worker).powerCut());
        await step("wait for NotReady", () =>
          kube.waitForNode(worker, (node) => (node.ready ? "it still counts as ready" : undefined), {
            deadline: minutes(3),
          }),
        );
        await step("boot it", () => healed(fault));
        return (await kube.nodes()).find(({ name }) => name === worker);
      },
      { limit: seconds(20) },
    );
    expect(after).toMatchObject({
      ready: true,
      internalIp: before?.internalIp ?? "",
      kubeletVersion: before?.kubeletVersion ?? "",
      podCidr: before?.podCidr ?? "",
      machineId: before?.machineId ?? "",
    });
    expect(after?.bootId).not.toBe(before?.bootId ?? "");
    await kube.apply([user("reader", "grep -qx 'written before the cut' /kept/file")]);
    await done("reader");
    await kube.delete([claim, user("writer", ""), user("reader", "")]);
    expect(await on(worker, "hostname -I")).toContain(address(worker));
  });
});

test("an invariant that a fault breaks: told when, by what, and that it held again", async () => {
  const reachable: Invariant = {
    what: `ssh on ${worker} answers`,
    async check() {
      if (!(await answers(worker))) throw new Error("no answer");
    },
  };
  const broken = during(
    reachable,
    async (step) => {
      await using fault = await network.linkDown(worker);
      await step("look around", async () => expect(await answers(worker)).toBe(false));
      await step("plug it in again", () => fault.heal());
      await until("it answers", seconds(60), async () => (await answers(worker)) || notYet("not yet"));
    },
    { limit: seconds(30) },
  );
  const error = await broken.then(
    () => undefined,
    (thrown: { details: string[] }) => thrown,
  );
  const text = error?.details.join("\n") ?? "";
  expect(text).toContain(`ssh on ${worker} answers: first broke`);
  expect(text).toMatch(new RegExp(`being done: .*link down on ${worker}`));
  expect(text).toContain("held again after");
});

describe("kpi fault", () => {
  const inForce = (line: string) => line.endsWith(": in force");
  const state = async () => (await access.libvirt.domain(worker))?.state;
  /** The spec's kpi, on this cluster, to its end. */
  const ended = async (args: string[], at: (pid: number) => void) => {
    let told = false;
    const running = await kpi.start(["fault", ...args, "--lab", access.cluster.name], {
      onLine(line) {
        if (!told && inForce(line)) at(running.pid);
        told ||= inForce(line);
      },
    });
    return running.done;
  };

  test("Ctrl-C heals, exit 130", async () => {
    const { code } = await ended(["freeze", worker, "--for", "10m"], (pid) => process.kill(pid, "SIGINT"));
    expect({ code, state: await state(), journal: journal() }).toEqual({ code: 130, state: "running", journal: [] });
  });

  test("killed by SIGKILL: in the journal, in force, and healed by the next command", async () => {
    await ended(["freeze", worker, "--for", "10m"], (pid) => process.kill(pid, "SIGKILL")).catch(() => {});
    expect(await state()).toBe("paused");
    const list = JSON.parse((await kpi.succeed(["fault", "--list", "--json"])).stdout); // reaps first, like any command
    expect(list.inForce).toEqual([]);
    expect({ state: await state(), journal: journal() }).toEqual({ state: "running", journal: [] });
    expect(Math.abs(await clockOffset(worker))).toBeLessThan(2);
  });

  test("whose lab is removed meanwhile ends, and says so", async () => {
    const name = "gone";
    const down = Promise.withResolvers<unknown>();
    await kpi.succeed(["fork", "kpi", "--as", name]);
    const running = await kpi.start(["fault", "freeze", worker, "--for", "10m", "--lab", name], {
      onLine: (line) => void (inForce(line) && down.resolve(kpi.succeed(["down", "--lab", name]))),
    });
    const { code, stderr } = await running.done;
    await down.promise;
    expect({ code, stderr: stderr.split("\n")[0] }).toEqual({ code: 1, stderr: "kpi: lab gone has ended" });
  });

  test("a random schedule is told with its seed, is the same again, and leaves a Ready cluster", async () => {
    const args = ["fault", "random", "--seed", "201", "--for", "30s", "--json", "--lab", access.cluster.name];
    const planned = (await kpi.succeed([...args, "--dry-run"])).stdout;
    expect((await kpi.succeed([...args, "--dry-run"])).stdout).toBe(planned);
    const { stdout } = await kpi.succeed(args);
    const [first = "", ...events] = stdout.split("\n");
    expect(first).toBe(planned);
    const { schedule } = JSON.parse(first);
    expect(schedule.length).toBeGreaterThan(0);
    const states = events.map((line) => JSON.parse(line).state);
    expect(states.filter((each) => each === "healed").length).toBe(schedule.length);
    expect(states.at(-1)).toBe("all nodes Ready");
    expect(await rules()).toEqual([]);
  });
});

test("a scenario fails, or a claim on what came of it: what its fork had to say is kept, and the fork goes", async () => {
  const file = join(kpi.temporary, "failing.spec.ts");
  writeFileSync(file, failingOnFork);
  const suite = await kpi.start(["test", file], { env: { KPI_SUITE: "" } }); // a suite of its own, also inside of one
  const { code, stdout } = await suite.done;
  expect(code, printed(stdout)).toBe(1);
  expect(stdout).toContain(`claim: ${server}: expected success, got exit code 3`);
  expect(stdout, "where it stands").toContain(`at ${file}:7:`);
  expect(stdout).toMatch(/Expected: "k3s-worker-02"\s+Received: "k3s-worker-01"/);
  expect(stdout.trim().split("\n").at(-1)).toBe("1 passed, 2 failed");
  const evidence = [...stdout.matchAll(/^evidence: (.+)$/gm)].map(([, dir = ""]) => dir).sort();
  expect(evidence.map((dir) => basename(dir))).toEqual(["a-fault-that-nobody-bears", "a-hope"]);
  for (const dir of evidence) expect(readFileSync(join(dir, server, "journal.log"), "utf8")).toContain("k3s");
  expect(readFileSync(join(evidence[0] ?? "", "missing.txt"), "utf8")).toContain(`${worker} is shut off`);
  expect(JSON.parse((await kpi.succeed(["labs", "--json"])).stdout).map((lab: any) => lab.name)).toEqual(["kpi"]);
});
