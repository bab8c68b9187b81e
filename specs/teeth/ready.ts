import { mutant } from "../../harness/kit/teeth.ts";

const worker = "k3s-worker-01";
const joined = "exactly the planned nodes have joined, and all are Ready";
const roles = "each node has its planned role and address";
const pressure = "no node is cordoned or under pressure";
const networks = "every node has a pod network of its own inside the planned one";
const same = "the API and the nodes speak of the same machines and boots";
const system = "kube-system runs, with DNS behind its service";
const budgets = "every stage kept its budget, as it is stretched for this machine";
const steps = "its first boot took every step in order, to its own readiness; none was refused";
const runs = "k3s runs, was never restarted, and starts at boot";

type Seen = Parameters<Parameters<typeof mutant<"ready">>[3]>[0];
const api = (seen: Seen) => seen.api.nodes.find(({ name }) => name === worker)!;
const dns = (seen: Seen) => seen.api.pods.find(({ namespace }) => namespace === "kube-system")!;
const unit = (seen: Seen) => seen.nodes[worker]!.units["k3s-agent"]!;

export const mutants = [
  // What must be noticed on every machine, whatever its calibration leaves a stage: see docs/adrs/0010-calibration.md.
  ...(["boot", "install", "ready"] as const).map((stage) =>
    mutant(
      "ready",
      `${stage} took three times as long as it did`,
      { [budgets]: new RegExp(`"${stage}: [^"]*over by`) },
      (seen) => {
        seen.took[stage] = 3 * Number(seen.took[stage]);
      },
    ),
  ),
  mutant("ready", "nobody measured a stage", { [budgets]: /stages without a time[^]*"boot"/ }, (seen) => {
    delete seen.took.boot;
  }),
  mutant("ready", "a node is not Ready", { [joined]: /k3s-worker-01": "Kubelet stopped posting/ }, (seen) => {
    Object.assign(api(seen), { ready: false, why: "Kubelet stopped posting node status." });
  }),
  mutant("ready", "a node has not joined", { [joined]: /k3s-worker-01": "Ready"/ }, (seen) => {
    seen.api.nodes = seen.api.nodes.filter(({ name }) => name !== worker);
  }),
  mutant("ready", "a node too many has joined", { [joined]: /stranger/ }, (seen) => {
    seen.api.nodes.push({ ...api(seen), name: "stranger" });
  }),
  mutant("ready", "a node has another address", { [roles]: /192\.168\.122\.99/ }, (seen) => {
    api(seen).internalIp = "192.168.122.99";
  }),
  mutant("ready", "a worker is a control plane as well", { [roles]: /"role": "server"/ }, (seen) => {
    api(seen).roles = ["control-plane"];
  }),
  mutant("ready", "a node is cordoned", { [pressure]: /"unschedulable": true/ }, (seen) => {
    api(seen).unschedulable = true;
  }),
  mutant("ready", "a node's disk is full", { [pressure]: /DiskPressure/ }, (seen) => {
    api(seen).pressures = ["DiskPressure"];
  }),
  mutant("ready", "two nodes share a pod network", { [networks]: /different pod networks/ }, (seen) => {
    api(seen).podCidr = seen.api.nodes.find(({ name }) => name !== worker)!.podCidr;
  }),
  mutant("ready", "a pod network outside of the planned one", { [networks]: /10\.99\.1\.0\/24/ }, (seen) => {
    api(seen).podCidr = "10.99.1.0/24";
  }),
  mutant("ready", "the API speaks of another machine", { [same]: /machineId/ }, (seen) => {
    api(seen).machineId = "f".repeat(32);
  }),
  mutant("ready", "a node has booted since it reported", { [same]: /bootId/ }, (seen) => {
    seen.nodes[worker]!.bootId = "00000000-0000-0000-0000-000000000000";
  }),
  mutant("ready", "DNS does not run", { [system]: /coredns[^]*ImagePullBackOff/ }, (seen) => {
    Object.assign(dns(seen), { ready: false, phase: "Pending", why: "coredns: ImagePullBackOff" });
  }),
  mutant("ready", "kube-system is empty", { [system]: /pods of kube-system/ }, (seen) => {
    seen.api.pods = [];
  }),
  mutant("ready", "nothing is behind the DNS service", { [system]: /endpoints of kube-dns/ }, (seen) => {
    seen.api.dnsEndpoints = 0;
  }),
  mutant("ready", "DNS restarts in a loop", { "no pod of kube-system restarts in a loop": /17 restarts/ }, (seen) => {
    dns(seen).restarts = 17;
  }),
  mutant("ready", "k3s was stopped", { [runs]: /k3s-worker-01: k3s's unit[^]*"active": "inactive"/ }, (seen) => {
    unit(seen).active = "inactive";
  }),
  mutant("ready", "k3s was restarted by systemd", { [runs]: /"restarts": 4/ }, (seen) => {
    unit(seen).restarts = 4;
  }),
  mutant("ready", "k3s does not start at boot", { [runs]: /"enabled": "disabled"/ }, (seen) => {
    unit(seen).enabled = "disabled";
  }),
  mutant(
    "ready",
    "a worker has a server's unit as well",
    { "only the unit of its role is there": /k3s-worker-01: the other role's unit/ },
    (seen) => {
      seen.nodes[worker]!.units["k3s"]!.loaded = true;
    },
  ),
  mutant("ready", "a unit has failed", { "no unit has failed": /kpi-node\.service/ }, (seen) => {
    seen.nodes[worker]!.failedUnits.push("kpi-node.service");
  }),
  mutant("ready", "the first boot refused a step", { [steps]: /ready: k3s-worker-01 did not become Ready/ }, (seen) => {
    const [first] = seen.nodes[worker]!.verdicts;
    seen.nodes[worker]!.verdicts.push({
      ...first!,
      step: "ready",
      ok: false,
      detail: "k3s-worker-01 did not become Ready in 600 s",
    });
  }),
  mutant(
    "ready",
    "a node called itself done without waiting for its readiness",
    { [steps]: /k3s-worker-01: steps of the first boot[^]*-\s+"ready"/ },
    (seen) => {
      seen.nodes[worker]!.verdicts.pop();
    },
  ),
  mutant("ready", "a node's DNS was proven after the installation", { [steps]: /steps of the first boot/ }, (seen) => {
    const { verdicts } = seen.nodes[worker]!;
    verdicts.push(...verdicts.splice(3, 1));
  }),
  mutant(
    "ready",
    "a node runs its pods in another runtime",
    { "every node runs its pods in containerd": /k3s-worker-01": "cri-o"/ },
    (seen) => {
      api(seen).runtime = "cri-o://1.34.0";
    },
  ),
  mutant(
    "ready",
    "a worker listens as an API server",
    { "the API server listens on the control plane only": /"agent"/ },
    (seen) => {
      seen.nodes[worker]!.listening.push("tcp *:6443");
    },
  ),
];
