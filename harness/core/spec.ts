import { join } from "node:path";
import { type Duration, parseDuration } from "./duration.ts";
import { readExtended } from "./extends.ts";
import { type Fault, faultsError, formatPath, sortFaults } from "./fault.ts";
import { nearest } from "./nearest.ts";
import { projectRoot } from "./paths.ts";
import { checkRules, type LockedSupplies } from "./rules.ts";
import { compileSchema, type Schema } from "./schema.ts";
import { parseSize } from "./size.ts";
import { keyPosition, keysAt, plain, type YamlMap } from "./yaml.ts";

/** What a virtual machine has. */
export interface Machine {
  readonly cpus: number;
  readonly memoryMiB: number;
  readonly diskGiB: number;
}

export interface NodeSpec {
  readonly name: string;
  readonly role: "server" | "agent";
  readonly address: string;
  readonly machine: Machine;
}

/** The declared cluster: checked, complete and frozen. */
export interface ClusterSpec {
  readonly name: string;
  readonly k3s: {
    readonly distribution: "k3s" | "k3s-lab";
    /** Exact, such as `v1.34.3+k3s1`. */
    readonly version: string;
    readonly podCidr: string;
    readonly serviceCidr: string;
    readonly disable: readonly string[];
    /** Where nodes on a libvirt host fetch its files instead of from its release; a URL that ends in `/`. */
    readonly mirror?: string;
  };
  readonly network: {
    readonly name: string;
    readonly cidr: string;
    readonly gateway: string;
    readonly dns: readonly string[];
    readonly interface: string;
  };
  readonly image: {
    readonly name: string;
    /** A guest supply of the lock file. */
    readonly source: string;
    readonly pool: string;
    readonly boot: "disk" | "direct";
  };
  readonly guest: { readonly user: string };
  /** In document order; exactly one is the server. */
  readonly nodes: readonly NodeSpec[];
  readonly budgets: {
    readonly boot: Duration;
    readonly network: Duration;
    readonly install: Duration;
    readonly ready: Duration;
  };
  /** The files it came from, the given one first. */
  readonly sources: readonly string[];
}

/**
 * Reads a spec and what it extends, and checks all of it, where `locked` is given also against that. Creates nothing. Throws one `spec`
 * error whose details list every fault as `file:line:col path: what is wrong, expected what was expected`.
 */
export async function loadSpec(path: string, locked?: LockedSupplies): Promise<ClusterSpec> {
  const { root, files, faults } = await readExtended(path);
  const found: Fault[] = [];
  addNew(found, faults);
  if (root !== undefined) {
    addNew(found, sumUpNewNodes((await specSchema()).check(root), root));
    // Rules compare values with each other: without the rest of the spec there is nothing to compare with.
    if (!root.entries.has("extends")) addNew(found, checkRules(root, found, locked));
  }
  if (found.length > 0 || root === undefined) throw faultsError(`spec ${files[0]}`, sortFaults(found, files));
  return freeze(build(root, files));
}

/** A node that lacks everything is most likely an override of another, with a slip in its name: one fault, not two. */
function sumUpNewNodes(faults: readonly Fault[], root: YamlMap): readonly Fault[] {
  const isMissing = (fault: Fault, name: string, key: string) =>
    fault.what === "is missing" && formatPath(fault.path) === formatPath(["nodes", name, key]);
  const names = keysAt(root, ["nodes"]);
  return names.reduce((rest: readonly Fault[], name) => {
    const both = rest.filter((fault) => isMissing(fault, name, "role") || isMissing(fault, name, "address"));
    const meant = nearest(
      name,
      names.filter((other) => other !== name),
    );
    if (both.length < 2 || meant === undefined) return rest;
    const path = ["nodes", name];
    const what = "is a new node without role and address";
    const fault = { at: keyPosition(root, path), path, what, expected: `${meant} (did you mean that?)` };
    return [...rest.filter((other) => !both.includes(other)), fault];
  }, faults);
}

let compiled: Promise<Schema> | undefined;

/** The schema that editors use too. */
function specSchema(): Promise<Schema> {
  compiled ??= Bun.file(join(projectRoot, "specs", "cluster.schema.json"))
    .json()
    .then(compileSchema);
  return compiled;
}

/** One fault, one line: what is already said about a place is not said again in other words. */
function addNew(faults: Fault[], more: readonly Fault[]): void {
  const key = ({ at, path }: Fault) => `${at.file}:${at.line}:${at.col} ${formatPath(path)}`;
  const known = new Set(faults.map(key));
  for (const fault of more) {
    if (!known.has(key(fault))) faults.push(fault);
    known.add(key(fault));
  }
}

/** The document as the schema promises it. */
interface Document extends Omit<ClusterSpec, "nodes" | "budgets" | "sources"> {
  readonly machine: MachineDocument;
  readonly nodes: Readonly<Record<string, NodeDocument>>;
  readonly budgets: Readonly<Record<keyof ClusterSpec["budgets"], string>>;
}
interface MachineDocument {
  readonly cpus: number;
  readonly memory: string;
  readonly disk: string;
}
interface NodeDocument {
  readonly role: NodeSpec["role"];
  readonly address: string;
  readonly machine?: Partial<MachineDocument>;
}

function build(root: YamlMap, sources: readonly string[]): ClusterSpec {
  const { name, k3s, network, image, guest, machine, nodes, budgets } = plain(root) as Document;
  return {
    name,
    k3s,
    network,
    image,
    guest,
    nodes: keysAt(root, ["nodes"]).map((node) => buildNode(node, nodes[node] as NodeDocument, machine)),
    budgets: {
      boot: durationOf(budgets.boot),
      network: durationOf(budgets.network),
      install: durationOf(budgets.install),
      ready: durationOf(budgets.ready),
    },
    sources,
  };
}

function buildNode(name: string, node: NodeDocument, defaults: MachineDocument): NodeSpec {
  const { cpus, memory, disk } = { ...defaults, ...node.machine };
  const machine = { cpus, memoryMiB: sizeOf(memory), diskGiB: sizeOf(disk) / 1024 };
  return { name, role: node.role, address: node.address, machine };
}

function sizeOf(text: string): number {
  return parseSize(text) ?? bug(text);
}

function durationOf(text: string): Duration {
  return parseDuration(text) ?? bug(text);
}

function bug(text: string): never {
  throw new Error(`the schema let ${JSON.stringify(text)} pass`);
}

function freeze<T extends object>(value: T): T {
  for (const part of Object.values(value)) if (typeof part === "object" && part !== null) freeze(part as object);
  return Object.freeze(value);
}
