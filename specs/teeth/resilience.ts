import { scenarioMutant } from "../../harness/kit/teeth.ts";

type Nodes = Record<string, boolean>;
interface Partition {
  noticed: number;
  meanwhile: Nodes;
  k3s: string;
  healed: number;
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
const partition = "partition";
const disk = "full disk";
const clock = "clock jump";
const hour = 3_600_000;

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
];
