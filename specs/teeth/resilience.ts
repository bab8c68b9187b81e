import { scenarioMutant } from "../../harness/kit/teeth.ts";

type Nodes = Record<string, boolean>;
interface Partition {
  noticed: number;
  meanwhile: Nodes;
  k3s: string;
  healed: number;
}
interface Reboot {
  before: Booted;
  after: Booted;
  down: number;
  held: string[];
  addresses: string;
  log: { before: string; after: string };
  healed: Nodes;
}
interface FullDisk {
  written: string;
  meanwhile: { ssh: string; others: Nodes };
  room: string;
  k3s: string;
  back: number;
}
interface ClockJump {
  node: number;
  meanwhile: Record<string, unknown>;
  healed: number;
  back: number;
}
interface WorkerCut {
  noticed: number;
  meanwhile: Nodes;
  before: Booted;
  after: Booted;
  healed: Nodes;
  failed: string;
}
interface Identity {
  address: string;
  version: string;
  machineId: string;
  podCidr: string;
  planned: string;
}
interface Booted extends Identity {
  boot: string;
}
interface Agent {
  unit: string;
  pods: string[];
}
interface ServerCut {
  answer: string;
  worker: { before: Agent; meanwhile: Agent; later: string };
  before: { name: string; machineId: string }[];
  after: { name: string; machineId: string }[];
  healed: Nodes;
}
interface DnsLost {
  asked: string;
  restarted: string;
  meanwhile: Nodes;
  answered: string;
}
const worker = "worker power cut";
const server = "control plane power cut";
const dns = "DNS lost after the installation";
const partition = "partition";
const reboot = "reboot";
const disk = "full disk";
const clock = "clock jump";
const hour = 3_600_000;
const goOn = "workers go on without it: the same agent runs, and the same pods";

export const mutants = [
  scenarioMutant<Partition>(
    partition,
    "nobody notices the partition for an hour",
    { "a worker without way to the control plane is NotReady within two minutes": /1h00m/ },
    (seen) => {
      seen.noticed = hour;
    },
  ),
  scenarioMutant<Partition>(
    partition,
    "the partition takes another node along",
    { "the node on the other side of no partition stays Ready": /"k3s-worker-02": false/ },
    (seen) => {
      seen.meanwhile["k3s-worker-02"] = false;
    },
  ),
  scenarioMutant<Partition>(
    partition,
    "the partition was none",
    { "the node on the other side of no partition stays Ready": /"k3s-worker-01": true/ },
    (seen) => {
      seen.meanwhile["k3s-worker-01"] = true;
    },
  ),
  scenarioMutant<Partition>(
    partition,
    "k3s gives up on the parted node",
    { "k3s on the parted worker keeps trying": /failed/ },
    (seen) => {
      seen.k3s = "failed";
    },
  ),
  scenarioMutant<Partition>(
    partition,
    "the node does not come back",
    { "healed, it is Ready again within two minutes, by itself": /1h00m/ },
    (seen) => {
      seen.healed = hour;
    },
  ),
  scenarioMutant<Reboot>(reboot, "there was no reboot", { "it really was one": /Expected: not/ }, (seen) => {
    seen.after.boot = seen.before.boot;
  }),
  scenarioMutant<Reboot>(
    reboot,
    "the node comes back with another pod network",
    { "the node comes back as it was: address, version, machine-id, pod network": /10\.42\.9\.0\/24/ },
    (seen) => {
      seen.after.podCidr = "10.42.9.0/24";
    },
  ),
  scenarioMutant<Reboot>(
    reboot,
    "something holds the node up for an hour",
    { "the node goes down within a minute: nothing holds it up": /1h00m/ },
    (seen) => {
      seen.down = hour;
    },
  ),
  scenarioMutant<Reboot>(
    reboot,
    "a unit that does not stop holds the node up",
    { "the node goes down within a minute: nothing holds it up": /"qemu-guest-agent\.service"/ },
    (seen) => {
      seen.down = 93_000;
      seen.held = ["qemu-guest-agent.service"];
    },
  ),
  scenarioMutant<Reboot>(
    reboot,
    "cloud-init has run again",
    { "nothing is configured anew: cloud-init has not run again": /cloud-init's log[^]*99999/ },
    (seen) => {
      seen.log.after = "99999 /var/log/cloud-init.log";
    },
  ),
  scenarioMutant<Reboot>(
    reboot,
    "the node comes back with a second address",
    { "it has the planned address only": /192\.168\.122\.77/ },
    (seen) => {
      seen.addresses += "\n192.168.122.77/24";
    },
  ),
  scenarioMutant<Reboot>(
    reboot,
    "another node does not bear it",
    { "all nodes are Ready afterwards": /"k3s-worker-02": false/ },
    (seen) => {
      seen.healed["k3s-worker-02"] = false;
    },
  ),
  scenarioMutant<FullDisk>(
    disk,
    "the disk was not full",
    { "nothing can be written, and the system says why": /No space left/ },
    (seen) => {
      seen.written = "";
    },
  ),
  scenarioMutant<FullDisk>(
    disk,
    "nobody can log in",
    { "one can still log in, and the other nodes are Ready": /"in"/ },
    (seen) => {
      seen.meanwhile.ssh = "";
    },
  ),
  scenarioMutant<FullDisk>(
    disk,
    "another node suffers",
    { "one can still log in, and the other nodes are Ready": /k3s-worker-02/ },
    (seen) => {
      seen.meanwhile.others["k3s-worker-02"] = false;
    },
  ),
  scenarioMutant<FullDisk>(
    disk,
    "k3s does not recover",
    { "with room again k3s runs and the node is Ready within two minutes": /activating/ },
    (seen) => {
      seen.k3s = "activating";
    },
  ),
  scenarioMutant<ClockJump>(
    clock,
    "the clock was not wrong",
    { "the clock is really wrong, by ten minutes": /to be within/ },
    (seen) => {
      seen.node = 0;
    },
  ),
  scenarioMutant<ClockJump>(
    clock,
    "k3s does not bear it",
    { "k3s runs on, and the other nodes are Ready": /failed/ },
    (seen) => {
      seen.meanwhile["k3s"] = "failed";
    },
  ),
  scenarioMutant<ClockJump>(
    clock,
    "the clock stays wrong",
    { "set right, the node is Ready": /to be within/ },
    (seen) => {
      seen.healed = hour;
    },
  ),
  scenarioMutant<WorkerCut>(
    worker,
    "nobody notices that the power is off for an hour",
    { "the control plane notices within two minutes": /1h00m/ },
    (seen) => {
      seen.noticed = hour;
    },
  ),
  scenarioMutant<WorkerCut>(
    worker,
    "its power was never cut",
    { "it really was without power": /Expected: not/ },
    (seen) => {
      seen.after.boot = seen.before.boot;
    },
  ),
  scenarioMutant<WorkerCut>(
    worker,
    "the control plane goes with the worker",
    { "the other nodes stay Ready": /"k3s-cp-01": false/ },
    (seen) => {
      seen.meanwhile["k3s-cp-01"] = false;
    },
  ),
  scenarioMutant<WorkerCut>(
    worker,
    "it comes back with another machine-id",
    { "powered again, it is the same node, and Ready by itself": /machineId[^]*f{32}/ },
    (seen) => {
      seen.after.machineId = "f".repeat(32);
    },
  ),
  scenarioMutant<WorkerCut>(
    worker,
    "it comes back at another address",
    { "powered again, it is the same node, and Ready by itself": /address/ },
    (seen) => {
      seen.after.address = seen.before.address = "192.168.122.99";
    },
  ),
  scenarioMutant<WorkerCut>(
    worker,
    "it never gets Ready again",
    { "powered again, it is the same node, and Ready by itself": /"k3s-worker-01": false/ },
    (seen) => {
      seen.healed["k3s-worker-01"] = false;
    },
  ),
  scenarioMutant<WorkerCut>(
    worker,
    "a unit fails at the second boot",
    { "powered again, no unit of it has failed": /kpi-node\.service/ },
    (seen) => {
      seen.failed = "kpi-node.service loaded failed failed";
    },
  ),
  scenarioMutant<ServerCut>(
    server,
    "something else answers for the API",
    { "the API does not answer meanwhile: nothing else was asked": /answered 200/ },
    (seen) => {
      seen.answer = "answered 200";
    },
  ),
  scenarioMutant<ServerCut>(
    server,
    "workers give up without the control plane",
    { [goOn]: /without control plane[^]*ActiveState=failed/ },
    (seen) => {
      seen.worker.meanwhile.unit = seen.worker.meanwhile.unit.replace("active", "failed");
    },
  ),
  scenarioMutant<ServerCut>(
    server,
    "a worker's agent dies without the control plane and is started anew",
    { [goOn]: /the agent after it[^]*NRestarts=1/ },
    (seen) => {
      seen.worker.later = seen.worker.later
        .replace("NRestarts=0", "NRestarts=1")
        .replace(/MainPID=\d+/, "MainPID=9999");
    },
  ),
  scenarioMutant<ServerCut>(
    server,
    "a worker's pods end with the control plane",
    { [goOn]: /without control plane[^]*"pods"/ },
    (seen) => {
      seen.worker.meanwhile.pods = [];
    },
  ),
  scenarioMutant<ServerCut>(server, "the worker has no pods that could go on", { [goOn]: /pods before/ }, (seen) => {
    seen.worker.before.pods = seen.worker.meanwhile.pods = [];
  }),
  scenarioMutant<ServerCut>(
    server,
    "the control plane has forgotten a node",
    { "powered again, it knows the same nodes, and all are Ready": /k3s-worker-02/ },
    (seen) => {
      seen.after = seen.after.filter(({ name }) => name !== "k3s-worker-02");
    },
  ),
  scenarioMutant<ServerCut>(
    server,
    "a worker is lost after it",
    { "powered again, it knows the same nodes, and all are Ready": /"k3s-worker-01": false/ },
    (seen) => {
      seen.healed["k3s-worker-01"] = false;
    },
  ),
  scenarioMutant<DnsLost>(
    dns,
    "the resolvers were not really dead",
    { "names really do not resolve": /192\.168\.122\.1/ },
    (seen) => {
      seen.asked = "192.168.122.1 STREAM registry";
    },
  ),
  scenarioMutant<DnsLost>(
    dns,
    "a node is lost without DNS",
    { "the cluster does not care: all nodes stay Ready": /false/ },
    (seen) => {
      seen.meanwhile["k3s-worker-02"] = false;
    },
  ),
  scenarioMutant<DnsLost>(
    dns,
    "k3s does not start without DNS",
    { "even k3s restarts without it: only the installation needed DNS": /activating/ },
    (seen) => {
      seen.restarted = "activating";
    },
  ),
  scenarioMutant<DnsLost>(
    dns,
    "names stay dead after healing",
    { "healed, names resolve": /192\.168\.122\.1/ },
    (seen) => {
      seen.answered = "";
    },
  ),
];
