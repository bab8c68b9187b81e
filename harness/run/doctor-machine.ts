import { type Capacity, shortages } from "../core/capacity.ts";
import type { Plan } from "../core/plan.ts";
import type { Check, Fix } from "./doctor-check.ts";
import type { Facts, Tried } from "./doctor-facts.ts";
import { distribution, sourceText } from "./doctor-packages.ts";

/** What supplies, their builds and one image take in the cache. */
const cacheGiB = 8;

/** Room, cores, rights and kernel features of this machine. */
export function checkMachine(facts: Facts, plan: Plan): Check[] {
  const lab = facts.host.kind === "lab";
  const here = [checkRoot(facts, lab), ...checkRoom(facts, plan, lab)];
  if (lab) return [...here, checkAccelerator(facts), ...checkKernel(facts)];
  return facts.hypervisor?.ssh === undefined ? [...here, checkAccelerator(facts)] : here;
}

function checkRoot({ root }: Facts, lab: boolean): Check {
  return {
    id: "root",
    title: "root",
    outcome: root ? "ok" : "missing",
    seen: root ? "yes" : "no",
    why: lab ? "a lab opens namespaces and runs its own libvirtd" : "packages and groups can only be mended by root",
    needed: lab,
    ...(root ? {} : { fix: { command: "sudo kpi ...", automatic: false } }),
  };
}

function checkRoom(facts: Facts, plan: Plan, lab: boolean): Check[] {
  const { memory, cpus, disk } = facts;
  const cache: Check = {
    id: "cache disk",
    title: "disk for the cache",
    outcome: disk.cacheGiB >= cacheGiB ? "ok" : "wrong",
    seen: `${disk.cacheGiB} GiB free`,
    why: `supplies and images take up to ${cacheGiB} GiB`,
    needed: true,
    ...(disk.cacheGiB >= cacheGiB ? {} : { fix: { command: "KPI_CACHE=/path/with/room kpi ...", automatic: false } }),
  };
  const there = facts.hypervisor;
  // Of a cluster on another machine that is to be made anew it is not known here what it frees: so that is told, and not insisted on.
  const remote = there?.ssh !== undefined;
  if (there?.unreached !== undefined) return [cache];
  const free: Capacity = {
    memoryMiB: remote ? there.availableMiB : memory.availableMiB,
    cpus: remote ? there.cpus : cpus,
    diskGiB: lab ? disk.stateGiB : (there?.pool.availableGiB ?? there?.freeGiB ?? 0),
  };
  const lacks = shortages(plan, free);
  const room: Check = {
    id: "room",
    title: "memory, cores, disk",
    outcome: lacks.length === 0 ? "ok" : "wrong",
    seen:
      lacks.length === 0
        ? `${(free.memoryMiB / 1_024).toFixed(1)} GiB memory, ${free.cpus} cores, ${free.diskGiB} GiB disk free`
        : lacks.join("; "),
    why: `cluster ${plan.cluster} has ${plan.nodes.length} nodes`,
    needed: !remote,
    ...(lacks.length === 0
      ? {}
      : { fix: { command: "# free some, or declare smaller nodes in the spec", automatic: false } }),
  };
  return [room, cache];
}

function checkAccelerator({ accelerator, bootsNothing, tools }: Facts): Check {
  const common = { id: "kvm", title: "KVM", why: "without it the nodes are emulated, about ten times slower" };
  if (accelerator?.accelerator === "kvm") return { ...common, outcome: "ok", seen: accelerator.proof, needed: false };
  if (bootsNothing !== undefined) {
    const fix = { command: "# reinstall QEMU", automatic: false };
    return { ...common, outcome: "wrong", seen: bootsNothing, needed: tools["qemu"] !== undefined, fix };
  }
  if (accelerator === undefined)
    return { ...common, outcome: "missing", seen: "not tried yet: there is no QEMU", needed: false };
  const firmware = "# turn virtualisation on in the firmware, or nested virtualisation around this machine";
  return {
    ...common,
    outcome: "wrong",
    seen: accelerator.proof,
    needed: false,
    fix: { command: firmware, automatic: false },
  };
}

function checkKernel({ root, namespaces, network, loopback, inotifyInstances, tools }: Facts): Check[] {
  const forRoot = [
    tried(
      "namespaces",
      "namespaces",
      namespaces,
      "a lab is a private world of namespaces",
      "run outside of a container, or with --privileged",
    ),
    triedNetwork(network, tools["ip"] !== undefined),
  ];
  return [
    ...(root ? forRoot : []), // whoever else tries them hears that he is not root
    tried(
      "ports",
      "ports on loopback",
      loopback,
      "the lab's proxy listens there",
      "bring the loopback interface up: ip link set lo up",
    ),
    {
      id: "inotify",
      title: "inotify instances",
      outcome: inotifyInstances >= 32 ? "ok" : "wrong",
      seen: String(inotifyInstances),
      why: "libvirt and its helpers watch files",
      needed: false,
      ...(inotifyInstances >= 32
        ? {}
        : { fix: { command: "sysctl -w fs.inotify.max_user_instances=128", automatic: true } }),
    },
  ];
}

function tried(id: string, title: string, fact: Tried, why: string, advice: string): Check {
  if (fact.works) return { id, title, outcome: "ok", seen: "tried", why, needed: true };
  return {
    id,
    title,
    outcome: "wrong",
    seen: fact.why,
    why,
    needed: true,
    fix: { command: `# ${advice}`, automatic: false },
  };
}

/** A missing device node can be made; a kernel without bridges or taps cannot. Without ip nothing could be tried. */
function triedNetwork(fact: Tried, possible: boolean): Check {
  const check = tried(
    "network",
    "bridge and tap devices",
    fact,
    "the lab's network is made of them",
    "load the modules: modprobe -a bridge tun",
  );
  if (!possible)
    return {
      id: check.id,
      title: check.title,
      outcome: "missing",
      seen: "not tried yet: there is no ip",
      why: check.why,
      needed: false,
    };
  if (fact.works || !/net\/tun/.test(fact.why)) return check;
  const command = "mkdir -p /dev/net && mknod /dev/net/tun c 10 200 && chmod 666 /dev/net/tun";
  return { ...check, outcome: "missing", fix: { command, automatic: true } };
}

/** Where the release's own packages are too old: that apt knows its backports. Only while packages are wanted. */
export function checkBackports(facts: Facts): Check[] {
  const suite = distribution(facts.os)?.backports;
  if (suite === undefined) return [];
  const common = {
    id: "backports",
    title: "newer packages",
    why: `QEMU, libvirt and Go of ${facts.os.pretty} are too old`,
    needed: true,
  };
  if (facts.backports) return [{ ...common, outcome: "ok", seen: suite }];
  return [{ ...common, outcome: "missing", seen: `${suite} is not in apt's sources`, fix: addSuite(facts, suite) }];
}

function addSuite({ archive, root }: Facts, suite: string): Fix {
  if (archive === undefined) {
    return { command: `# add ${suite} to apt's sources: no Debian archive is configured here`, automatic: false };
  }
  const text = sourceText(archive, suite).replaceAll("\n", "\\n");
  return { command: `printf '${text}' > /etc/apt/sources.list.d/kpi-backports.sources`, automatic: root };
}
