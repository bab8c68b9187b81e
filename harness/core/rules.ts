import { addressText, contains, isUnusable, type Network, overlap, parseNetwork, reservedIn } from "./address.ts";
import { parseDuration } from "./duration.ts";
import { type DocumentPath, type Fault, quote } from "./fault.ts";
import { formatSize, parseSize } from "./size.ts";
import { keyPosition, nodeAt, type YamlMap, type YamlNode } from "./yaml.ts";

/** Below this k3s does not start. */
const leastMemoryMiB = 512;
const mostMemoryMiB = 4 * 1024 * 1024; // a slip, not a machine
/** The base image's own size, and room for k3s's images: a clone cannot be smaller. */
const leastDiskMiB = 5 * 1024;
const mostDiskMiB = 16 * 1024 * 1024;
const mostBudgetHours = 24;
/** How much of the pod network each node gets; Kubernetes' default. */
const nodePodPrefix = 24;

/** What the supplies lock file pins, by name. */
export interface LockedSupplies {
  /** The lock file. */
  readonly path: string;
  readonly supplies: Readonly<Record<string, { readonly version: string; readonly files: readonly string[] }>>;
}

/**
 * What a schema cannot say: how the values of one spec go together. Looks only at values that no fault of `before`
 * touches, and says at most one thing about each. With a lock, what the spec wants of outside must be pinned there.
 */
export function checkRules(root: YamlMap, before: readonly Fault[], locked?: LockedSupplies): Fault[] {
  const spec = new Facts(root, before);
  checkVersion(spec);
  checkNetworks(spec);
  checkGateway(spec);
  checkNodes(spec);
  checkResolvers(spec);
  checkServers(spec);
  checkMachines(spec);
  checkBudgets(spec);
  if (locked !== undefined) checkLocked(spec, locked);
  return spec.faults;
}

/** The spec's sound values, and the faults found among them. */
class Facts {
  readonly faults: Fault[] = [];

  constructor(
    private readonly root: YamlMap,
    private readonly before: readonly Fault[],
  ) {}

  /** The text at `path`; undefined when none is there or something is wrong with it. */
  text(path: DocumentPath): string | undefined {
    const node = this.sound(path);
    return node?.kind === "scalar" && typeof node.value === "string" ? node.value : undefined;
  }

  network(path: DocumentPath): Network | undefined {
    const text = this.text(path);
    return text === undefined ? undefined : parseNetwork(text);
  }

  /** Keys of the map, or indexes of the list, at `path`. */
  keys(path: DocumentPath): (string | number)[] {
    const node = nodeAt(this.root, path);
    if (node?.kind === "map") return [...node.entries.keys()];
    return node?.kind === "list" ? [...node.items.keys()] : [];
  }

  /** Whether nothing is wrong at `path`, above it or below it. */
  isSound(path: DocumentPath): boolean {
    const within = (a: DocumentPath, b: DocumentPath) => a.every((step, index) => step === b[index]);
    return ![...this.before, ...this.faults].some((fault) => within(fault.path, path) || within(path, fault.path));
  }

  /** Says what is wrong with a value, at the value. */
  wrong(path: DocumentPath, why: string, expected: string): void {
    const node = nodeAt(this.root, path);
    const value = node?.kind === "scalar" ? `is ${quote(node.source)}, ` : "";
    this.faults.push({ at: node?.at ?? this.root.at, path, what: `${value}${why}`, expected });
  }

  /** Says what is wrong with a key, at the key. */
  wrongKey(path: DocumentPath, what: string, expected: string): void {
    this.faults.push({ at: keyPosition(this.root, path), path, what, expected });
  }

  private sound(path: DocumentPath): YamlNode | undefined {
    return this.isSound(path) ? nodeAt(this.root, path) : undefined;
  }
}

function checkVersion(spec: Facts): void {
  const path = ["k3s", "version"];
  const [version, distribution] = [spec.text(path), spec.text(["k3s", "distribution"])];
  if (version === undefined || distribution === undefined) return;
  const suffix = distribution === "k3s" ? "k3s" : "lab";
  if (new RegExp(`\\+${suffix}[1-9][0-9]*$`).test(version)) return;
  spec.wrong(path, `no release of ${distribution}`, `one that ends in +${suffix}1 or higher`);
}

/** What a node's disk is made of; see `files` in the lock file. */
const guestFile = "guest.qcow2";

function checkLocked(spec: Facts, { path: lock, supplies }: LockedSupplies): void {
  const names = Object.keys(supplies);
  const [distribution, version] = [spec.text(["k3s", "distribution"]), spec.text(["k3s", "version"])];
  const pinned = distribution === undefined ? undefined : supplies[distribution]?.version;
  if (distribution !== undefined && pinned === undefined)
    spec.wrong(["k3s", "distribution"], `no supply of ${lock}`, "one that is pinned there");
  else if (version !== undefined && pinned !== undefined && version !== pinned)
    spec.wrong(["k3s", "version"], `another version than ${lock} pins`, pinned);
  const guests = names.filter((name) => supplies[name]?.files.includes(guestFile));
  const source = spec.text(["image", "source"]);
  if (source !== undefined && !guests.includes(source))
    spec.wrong(["image", "source"], `no guest image of ${lock}`, guests.join(" or "));
}

const networkPath = ["network", "cidr"];
const podPath = ["k3s", "podCidr"];
const servicePath = ["k3s", "serviceCidr"];

function checkNetworks(spec: Facts): void {
  const paths = [networkPath, podPath, servicePath];
  for (const path of paths) checkNetwork(spec, path);
  checkNetworkSize(spec, networkPath, 8, 30);
  checkNetworkSize(spec, podPath, 8, podPrefix(spec.keys(["nodes"]).length));
  checkNetworkSize(spec, servicePath, 12, 28);
  for (const [index, path] of paths.entries()) {
    for (const earlier of paths.slice(0, index)) {
      const [one, other] = [spec.network(path), spec.network(earlier)];
      if (one && other && overlap(one, other)) {
        spec.wrong(path, `overlapping ${earlier.join(".")} ${other.cidr}`, "a network of its own");
      }
    }
  }
}

/** The longest prefix of a pod network with room for this many nodes. */
function podPrefix(nodes: number): number {
  return nodePodPrefix - Math.ceil(Math.log2(Math.max(1, nodes)));
}

function checkNetwork(spec: Facts, path: DocumentPath): void {
  const [text, network] = [spec.text(path), spec.network(path)];
  if (text === undefined || network === undefined) return;
  if (network.cidr !== text) spec.wrong(path, "with host bits set", network.cidr);
  else if (isUnusable(addressText(network.first)) || isUnusable(addressText(network.last))) {
    spec.wrong(path, "which no machine can be in", "a private network such as 192.168.122.0/24");
  }
}

function checkNetworkSize(spec: Facts, path: DocumentPath, shortest: number, longest: number): void {
  const network = spec.network(path);
  if (network === undefined) return;
  if (network.prefix > longest) spec.wrong(path, "too small", `/${longest} or larger`);
  if (network.prefix < shortest) spec.wrong(path, "too large", `/${shortest} or smaller`);
}

/** What is wrong with an address that a machine of the network is to have. */
function misfit(network: Network, address: string): string | undefined {
  if (!contains(network, address)) return `outside ${network.cidr}`;
  const reserved = reservedIn(network, address);
  return reserved === undefined ? undefined : `the ${reserved} address of ${network.cidr}`;
}

function usableRange({ first, last }: Network): string {
  return `one from ${addressText(first + 1)} to ${addressText(last - 1)}`;
}

const gatewayPath = ["network", "gateway"];

function checkGateway(spec: Facts): void {
  const [network, gateway] = [spec.network(networkPath), spec.text(gatewayPath)];
  if (network === undefined || gateway === undefined) return;
  const why = misfit(network, gateway);
  if (why !== undefined) spec.wrong(gatewayPath, why, usableRange(network));
}

function checkNodes(spec: Facts): void {
  const [network, gateway] = [spec.network(networkPath), spec.text(gatewayPath)];
  const owners = new Map<string, string>();
  for (const name of spec.keys(["nodes"]).map(String)) {
    const node = ["nodes", name];
    if (name === "localhost") spec.wrongKey(node, "is a name that every machine has", "another name");
    const path = [...node, "address"];
    const address = spec.text(path);
    if (address === undefined) continue;
    const why = network && misfit(network, address);
    const owner = owners.get(address);
    if (why !== undefined && network) spec.wrong(path, why, usableRange(network));
    else if (address === gateway) spec.wrong(path, "the gateway's address", "one of its own");
    else if (owner !== undefined) spec.wrong(path, `the address of ${owner} too`, "one of its own");
    else owners.set(address, name);
  }
}

function checkResolvers(spec: Facts): void {
  const network = spec.network(networkPath);
  const nodes = spec.keys(["nodes"]).map((name) => spec.text(["nodes", name, "address"]));
  for (const index of spec.keys(["network", "dns"])) {
    const path = ["network", "dns", index];
    const address = spec.text(path);
    if (address === undefined) continue;
    const reserved = network && reservedIn(network, address);
    if (isUnusable(address)) spec.wrong(path, "which no resolver can have", "a resolver that nodes can reach");
    else if (reserved) spec.wrong(path, `the ${reserved} address of ${network?.cidr}`, "a resolver's address");
    else if (nodes.includes(address)) spec.wrong(path, "a node's address", "a resolver that is there before the nodes");
  }
}

function checkServers(spec: Facts): void {
  const names = spec.keys(["nodes"]).map(String);
  const roles = names.map((name) => ({ name, path: ["nodes", name, "role"] }));
  const servers = roles.filter(({ path }) => spec.text(path) === "server");
  // A node with a broken role may be the one that is missed.
  const certain = names.length > 0 && roles.every(({ path }) => spec.text(path) !== undefined);
  if (servers.length === 0 && certain) spec.wrongKey(["nodes"], "has no server", "one node with role server");
  for (const { path } of servers.slice(1)) {
    spec.wrong(path, `but ${servers[0]?.name} is the server`, "agent, because only one server is supported");
  }
}

function checkMachines(spec: Facts): void {
  const machines = spec.keys(["nodes"]).map((name) => ["nodes", name, "machine"]);
  for (const path of [["machine"], ...machines]) {
    checkRange(spec, [...path, "memory"], leastMemoryMiB, mostMemoryMiB);
    checkRange(spec, [...path, "disk"], leastDiskMiB, mostDiskMiB);
  }
}

function checkRange(spec: Facts, path: DocumentPath, least: number, most: number): void {
  const size = parseSize(spec.text(path) ?? "");
  if (size === undefined) return;
  if (size < least) spec.wrong(path, "too small", `at least ${formatSize(least)}`);
  if (size > most) spec.wrong(path, "too large", `at most ${formatSize(most)}`);
}

function checkBudgets(spec: Facts): void {
  for (const name of spec.keys(["budgets"])) {
    const path = ["budgets", name];
    const budget = parseDuration(spec.text(path) ?? "");
    if (budget === undefined) continue;
    if (budget === 0) spec.wrong(path, "no time at all", "more than 0s");
    if (budget > mostBudgetHours * 3_600_000) spec.wrong(path, "too long", `at most ${mostBudgetHours}h`);
  }
}
