import { expect, type ForkedCluster, minutes, notYet, seconds, until, useCluster } from "../harness/kit.ts";
import { toolImage } from "../harness/kit/workload.ts";

const cluster = useCluster("specs/lab.yaml");
const [server, worker, other] = ["k3s-cp-01", "k3s-worker-01", "k3s-worker-02"] as const;

/** Every node's readiness, as the API tells it now. */
const ready = async ({ kube }: ForkedCluster) =>
  Object.fromEntries((await kube.nodes()).map((node) => [node.name, node.ready]));
/** Waits for a node's readiness to be this; gives how long it took, in milliseconds. */
async function becomes({ kube }: ForkedCluster, name: string, wanted: boolean): Promise<number> {
  const began = performance.now();
  const missing = (node: { ready: boolean; why: string }) =>
    node.ready === wanted ? undefined : `ready is ${node.ready} ${node.why}`;
  await kube.waitForNode(name, missing, { deadline: minutes(6) });
  return performance.now() - began;
}
/** What is the same machine before and after. */
const identity = async ({ kube, running }: ForkedCluster, name: string) => {
  const node = (await kube.nodes()).find((each) => each.name === name);
  return {
    address: node?.internalIp,
    version: node?.kubeletVersion,
    machineId: node?.machineId,
    podCidr: node?.podCidr,
    planned: running.access.node(name).address,
  };
};

/** When it is, and when its kernel was started, by the node's own clock in milliseconds. */
const guestClock = async ({ node }: ForkedCluster, name: string) => {
  const [now = 0, up = 0] = (await node(name).succeed('read -r up _ < /proc/uptime; date +"%s%3N $up"'))
    .split(" ")
    .map(Number);
  return { now, booted: now - up * 1_000 };
};

const workerCut = cluster.onFork("worker power cut", async (fork) => {
  const node = fork.node(worker);
  const before = { boot: await node.bootId(), ...(await identity(fork, worker)) };
  const fault = await fork.faults(worker).powerCut();
  const noticed = await becomes(fork, worker, false);
  const meanwhile = await ready(fork);
  await fault.heal();
  return {
    noticed,
    meanwhile,
    before,
    after: { boot: await node.bootId(), ...(await identity(fork, worker)) },
    healed: await ready(fork),
    failed: await node.succeed("systemctl list-units --failed --plain --no-legend"),
  };
});
workerCut.expects("it really was without power", ({ seen }) => expect(seen.after.boot).not.toBe(seen.before.boot));
workerCut.expects("the control plane notices within two minutes", ({ seen }) =>
  expect(seen.noticed).toBeWithin(minutes(2)),
);
workerCut.expects("the other nodes stay Ready", ({ seen }) =>
  expect(seen.meanwhile).toEqual({ [server]: true, [worker]: false, [other]: true }),
);
workerCut.expects("powered again, it is the same node, and Ready by itself", ({ seen }) => {
  expect({ ...seen.after, boot: "" }).toEqual({ ...seen.before, boot: "" });
  expect(seen.after.address, "address").toBe(seen.after.planned);
  expect(seen.healed, "Ready").toEqual({ [server]: true, [worker]: true, [other]: true });
});
workerCut.expects("powered again, no unit of it has failed", ({ seen }) => expect(seen.failed).toBe(""));

/** A pod on the worker, whose life shows whether its node's goes on. */
const goesOn = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "goes-on", namespace: "default" },
  spec: {
    ...{ nodeName: worker, hostNetwork: true, terminationGracePeriodSeconds: 0, automountServiceAccountToken: false },
    containers: [{ name: "main", image: toolImage, imagePullPolicy: "Never", command: ["sleep", "3600"] }],
  },
};
/** Waits until that pod runs, or is gone. */
const podIs = ({ kube }: ForkedCluster, wanted: "running" | "gone") =>
  kube.waitForPods(
    "default",
    `the worker's pod is not ${wanted}`,
    (pods) => {
      const found = pods.find(({ name }) => name === goesOn.metadata.name);
      const is = found === undefined ? "gone" : found.ready ? "running" : found.why;
      return is === wanted ? undefined : is;
    },
    { deadline: minutes(2) },
  );
/** The worker's agent, which has another number when it was started anew, and the processes that hold its pods. */
async function agentOf({ node }: ForkedCluster) {
  const [unit = "", pods = ""] = (
    await node(worker).succeed(
      "systemctl show k3s-agent -p ActiveState -p MainPID -p NRestarts | xargs; pgrep containerd-shim | xargs",
    )
  ).split("\n");
  return { unit, pods: pods.split(" ").filter((process) => process !== "") };
}

const serverCut = cluster.onFork("control plane power cut", async (fork) => {
  await fork.kube.apply([goesOn]);
  await podIs(fork, "running");
  const agent = await agentOf(fork);
  const before = (await fork.kube.nodes()).map(({ name, machineId }) => ({ name, machineId }));
  const fault = await fork.faults(server).powerCut();
  const answer = await fork.kube.request("/readyz", { signal: AbortSignal.timeout(seconds(5)) }).then(
    ({ status }) => `answered ${status}`,
    () => "no answer",
  );
  const meanwhile = await agentOf(fork);
  await fault.heal();
  await fork.kube.waitForNodes([server, worker, other], { deadline: minutes(5) });
  const after = (await fork.kube.nodes()).map(({ name, machineId }) => ({ name, machineId }));
  const later = (await agentOf(fork)).unit;
  await fork.kube.delete([goesOn]);
  await podIs(fork, "gone"); // whoever goes on with this fork must find it as it was
  return {
    answer,
    worker: { before: agent, meanwhile, later },
    before,
    after,
    healed: await ready(fork),
  };
});
serverCut.expects("the API does not answer meanwhile: nothing else was asked", ({ seen }) =>
  expect(seen.answer).toBe("no answer"),
);
serverCut.expects("workers go on without it: the same agent runs, and the same pods", ({ seen }) => {
  const { before, meanwhile, later } = seen.worker;
  expect(before.unit, "the agent before").toContain("ActiveState=active");
  expect(before.pods.length, "pods before").toBeGreaterThan(0);
  expect(meanwhile, "without control plane").toEqual(before);
  expect(later, "the agent after it").toBe(before.unit);
});
serverCut.expects("powered again, it knows the same nodes, and all are Ready", ({ seen }) => {
  expect(seen.after).toEqual(seen.before);
  expect(seen.healed).toEqual({ [server]: true, [worker]: true, [other]: true });
});

const partition = cluster.onFork("partition", async (fork) => {
  const fault = await fork.network.partition(server, worker);
  const noticed = await becomes(fork, worker, false);
  const meanwhile = await ready(fork);
  const k3s = await fork.node(worker).succeed("systemctl is-active k3s-agent");
  await fault.heal();
  return { noticed, meanwhile, k3s, healed: await becomes(fork, worker, true) };
});
partition.expects("a worker without way to the control plane is NotReady within two minutes", ({ seen }) =>
  expect(seen.noticed).toBeWithin(minutes(2)),
);
partition.expects("the node on the other side of no partition stays Ready", ({ seen }) =>
  expect(seen.meanwhile).toEqual({ [server]: true, [worker]: false, [other]: true }),
);
partition.expects("k3s on the parted worker keeps trying", ({ seen }) => expect(seen.k3s).toBe("active"));
partition.expects("healed, it is Ready again within two minutes, by itself", ({ seen }) =>
  expect(seen.healed).toBeWithin(minutes(2)),
);

const reboot = cluster.onFork("reboot", async (fork) => {
  const before = { boot: await fork.node(worker).bootId(), ...(await identity(fork, worker)) };
  const configured = () => fork.node(worker).succeed("wc -c /var/log/cloud-init.log");
  const log = { before: await configured(), after: "" };
  const asked = (await guestClock(fork, worker)).now;
  const shown = (await fork.console(worker)).length;
  const fault = await fork.faults(worker).reboot();
  await fault.heal();
  const down = (await guestClock(fork, worker)).booted - asked;
  // What systemd says on the console while it waits for a unit to stop.
  const waits = (await fork.console(worker)).slice(shown).matchAll(/Job (\S+)\/stop running/g);
  const held = [...new Set([...waits].map(([, unit]) => unit))];
  const after = { boot: await fork.node(worker).bootId(), ...(await identity(fork, worker)) };
  const addresses = await fork.node(worker).succeed("ip -4 -o address show dev eth0 scope global | awk '{ print $4 }'");
  log.after = await configured();
  return { before, after, down, held, addresses, log, healed: await ready(fork) };
});
reboot.expects("it really was one", ({ seen }) => expect(seen.after.boot).not.toBe(seen.before.boot));
reboot.expects("the node comes back as it was: address, version, machine-id, pod network", ({ seen }) =>
  expect({ ...seen.after, boot: "" }).toEqual({ ...seen.before, boot: "" }),
);
reboot.expects("the node goes down within a minute: nothing holds it up", ({ seen }) => {
  if (seen.down > minutes(1)) expect(seen.held, "units that systemd waited for").toEqual([]);
  expect(seen.down).toBeWithin(minutes(1));
});
reboot.expects("nothing is configured anew: cloud-init has not run again", ({ seen }) =>
  expect(seen.log.after, "cloud-init's log").toBe(seen.log.before),
);
reboot.expects("it has the planned address only", ({ seen, plan }) =>
  expect(seen.addresses).toBe(`${seen.before.planned}/${plan.network.cidr.split("/")[1]}`),
);
reboot.expects("all nodes are Ready afterwards", ({ seen }) =>
  expect(seen.healed).toEqual({ [server]: true, [worker]: true, [other]: true }),
);

const dnsLost = cluster.onFork("DNS lost after the installation", async (fork) => {
  const [name = ""] = fork.running.plan.network.requiredNames;
  const fault = await fork.network.dnsDown();
  const asked = await fork.node(worker).fail(`RES_OPTIONS='timeout:1 attempts:1' getent -s dns ahostsv4 ${name}`);
  await fork.node(worker).succeed("systemctl restart k3s-agent", { timeout: minutes(1) });
  const restarted = await fork.node(worker).succeed("systemctl is-active k3s-agent");
  const meanwhile = await ready(fork);
  await fault.heal();
  const answered = await until("a name resolves", seconds(90), async () => {
    const said = await fork.node(worker).succeed(`getent -s dns ahostsv4 ${name} || true`);
    return said === "" ? notYet("no answer") : said;
  });
  return { asked, restarted, meanwhile, answered };
});
dnsLost.expects("names really do not resolve", ({ seen }) => expect(seen.asked).toBe(""));
dnsLost.expects("the cluster does not care: all nodes stay Ready", ({ seen }) =>
  expect(Object.values(seen.meanwhile)).toEqual([true, true, true]),
);
dnsLost.expects("even k3s restarts without it: only the installation needed DNS", ({ seen }) =>
  expect(seen.restarted).toBe("active"),
);
dnsLost.expects("healed, names resolve", ({ seen, plan }) => expect(seen.answered).toContain(plan.network.gateway));

const fullDisk = cluster.onFork("full disk", async (fork) => {
  // Somebody writes all the while: a login afterwards takes seconds, in which others (a kubelet, by deleting images) may make room again.
  const writing = fork
    .node(worker)
    .fail("while head -c 65536 /dev/zero >> /var/tmp/room; do sleep 0.2; done; exit 1", { timeout: minutes(5) });
  writing.catch(() => {}); // told when it is waited for
  const fault = await fork.faults(worker).fillDisk();
  const written = await writing;
  const meanwhile = { ssh: await fork.node(worker).succeed("echo in"), others: await ready(fork) };
  await fault.heal();
  const room = await fork
    .node(worker)
    .succeed("head -c 1048576 /dev/zero > /var/tmp/room && rm /var/tmp/room && echo room");
  const k3s = await fork.node(worker).succeed("systemctl is-active k3s-agent");
  return { written, meanwhile, room, k3s, back: await becomes(fork, worker, true) };
});
fullDisk.expects("nothing can be written, and the system says why", ({ seen }) =>
  expect(seen.written).toContain("No space left on device"),
);
fullDisk.expects("one can still log in, and the other nodes are Ready", ({ seen }) => {
  expect(seen.meanwhile.ssh).toBe("in");
  expect(seen.meanwhile.others).toMatchObject({ [server]: true, [other]: true });
});
fullDisk.expects("with room again k3s runs and the node is Ready within two minutes", ({ seen }) => {
  expect({ room: seen.room, k3s: seen.k3s }).toEqual({ room: "room", k3s: "active" });
  expect(seen.back).toBeWithin(minutes(2));
});

const clockJump = cluster.onFork("clock jump", async (fork) => {
  const fault = await fork.faults(worker).setClock(minutes(10));
  const node = (await guestClock(fork, worker)).now - Date.now();
  const meanwhile = { k3s: await fork.node(worker).succeed("systemctl is-active k3s-agent"), ...(await ready(fork)) };
  await fault.heal();
  const healed = (await guestClock(fork, worker)).now - Date.now();
  return { node, meanwhile, healed, back: await becomes(fork, worker, true) };
});
clockJump.expects("the clock is really wrong, by ten minutes", ({ seen }) =>
  expect(Math.abs(seen.node - minutes(10))).toBeWithin(seconds(15)),
);
clockJump.expects("k3s runs on, and the other nodes are Ready", ({ seen }) =>
  expect(seen.meanwhile).toMatchObject({ k3s: "active", [server]: true, [other]: true }),
);
clockJump.expects("set right, the node is Ready", ({ seen }) => {
  expect(Math.abs(seen.healed)).toBeWithin(seconds(15));
  expect(seen.back).toBeWithin(minutes(2));
});
