import { existsSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { cpus } from "node:os";
import { until } from "../core/deadline.ts";
import { seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import type { KpiPaths } from "../core/paths.ts";
import type { Host } from "../core/plan.ts";
import { type Accelerator, probeAccelerator } from "../lab/accelerator.ts";
import { findProgram } from "../tools/environment.ts";
import { run } from "../tools/exec.ts";
import { otherMachine } from "../tools/libvirt-uri.ts";
import { packerAsked } from "../tools/packer.ts";
import { freeGiB, type Memory, machineMemory } from "./capacity.ts";
import { type HypervisorFacts, lookAtHypervisor } from "./doctor-hypervisor.ts";
import { tools } from "./doctor-programs.ts";
import { anyLacking, type ToolFact } from "./doctor-tools.ts";

/** What is known of the operating system, from os-release(5). */
export interface OsFacts {
  /** `debian`, `ubuntu`, ... */
  readonly id: string;
  readonly like: readonly string[];
  readonly version: string;
  readonly codename: string;
  readonly pretty: string;
}

/** Whether a thing that was really tried did work, and if not why. */
export type Tried = { readonly works: true } | { readonly works: false; readonly why: string };

/** Everything that the checks look at: gathered here, judged elsewhere. Sizes in MiB and GiB as named. */
export interface Facts {
  readonly host: Host;
  readonly os: OsFacts;
  readonly root: boolean;
  readonly tools: Readonly<Record<string, ToolFact | undefined>>;
  readonly accelerator?: Accelerator;
  /** What came of the attempt when QEMU is there and boots nothing at all. */
  readonly bootsNothing?: string;
  readonly memory: Memory;
  readonly cpus: number;
  /** Free space where the cache and the state are. */
  readonly disk: { readonly cacheGiB: number; readonly stateGiB: number };
  readonly namespaces: Tried;
  readonly network: Tried;
  readonly loopback: Tried;
  readonly inotifyInstances: number;
  /** Base of the Debian archive in this machine's own apt sources; looked for only while a tool is missing. */
  readonly archive?: string;
  /** Whether apt knows `CODENAME-backports`. */
  readonly backports: boolean;
  /** Absent for a lab. */
  readonly hypervisor?: HypervisorFacts;
}

export interface GatherOptions {
  readonly host: Host;
  readonly paths: KpiPaths;
  /** Of the libvirt pool that holds the disks, and of the network, on a host of its own. */
  readonly pool: string;
  readonly libvirtNetwork: string;
  readonly signal?: AbortSignal;
}

/** Looks at this machine (and at the hypervisor, where it is another one). Changes nothing, takes a second or two. */
export async function gatherFacts(options: GatherOptions): Promise<Facts> {
  const { host, paths, signal } = options;
  const os = readOs(read("/etc/os-release"));
  const [toolFacts, accelerator, namespaces, network, loopback, hypervisor] = await Promise.all([
    lookForTools(signal),
    tryAccelerator(options),
    tryCommand("unshare", ["--mount", "--net", "--pid", "--fork", "--mount-proc", "--kill-child=KILL", "true"], signal),
    tryNetwork(signal),
    tryLoopback(),
    host.kind === "lab"
      ? undefined
      : lookAtHypervisor(host.uri, { pool: options.pool, network: options.libvirtNetwork }, signal),
  ]);
  const apt = anyLacking(toolFacts) ? await lookAtApt(os.codename, signal) : { backports: false };
  signal?.throwIfAborted();
  return {
    host,
    os,
    root: process.getuid?.() === 0,
    tools: toolFacts,
    ...accelerator,
    memory: machineMemory(),
    cpus: cpus().length,
    disk: { cacheGiB: freeGiB(paths.cache), stateGiB: freeGiB(paths.state) },
    namespaces,
    network,
    loopback,
    inotifyInstances: Number(read("/proc/sys/fs/inotify/max_user_instances") || 0),
    ...apt,
    ...(hypervisor === undefined ? {} : { hypervisor }),
  };
}

/** Parses os-release(5). */
export function readOs(text: string): OsFacts {
  const field = (name: string) => new RegExp(`^${name}="?([^"\n]*)"?$`, "m").exec(text)?.[1] ?? "";
  const [id, version, pretty] = [field("ID"), field("VERSION_ID"), field("PRETTY_NAME")];
  const like = field("ID_LIKE").split(" ").filter(Boolean);
  return { id, like, version, codename: field("VERSION_CODENAME"), pretty: pretty || `${id} ${version}`.trim() };
}

/**
 * Reads `apt-get indextargets` (RELEASE|REPO_URI a line): the archive that serves this release, and whether its backports
 * are known. The machine's own sources are the only place where an archive's address comes from.
 */
export function readAptTargets(text: string, codename: string): { archive?: string; backports: boolean } {
  const targets = text.split("\n").map((line) => line.trim().split("|"));
  const archive = targets.find(([release]) => release === codename)?.[1];
  const backports = targets.some(([release]) => release === `${codename}-backports`);
  return { ...(archive === undefined ? {} : { archive }), backports };
}

async function lookForTools(signal?: AbortSignal): Promise<Record<string, ToolFact | undefined>> {
  const found = await Promise.all(
    tools.map(async (tool) => {
      for (const program of tool.programs) {
        const path = findProgram(program);
        if (path === undefined) continue;
        return [tool.id, { path, version: await toolVersion(path, tool.version, signal) }] as const;
      }
      const file = tool.files?.find((path) => existsSync(path));
      return [tool.id, file === undefined ? undefined : { path: file, version: "" }] as const;
    }),
  );
  return Object.fromEntries(found);
}

/** The first version number that the program tells on either stream; empty when it tells none. */
async function toolVersion(path: string, args: readonly string[] | undefined, signal?: AbortSignal): Promise<string> {
  if (args === undefined) return "";
  // A neutral place and no switching: a go.mod nearby must not decide what is asked for, nor anything call home.
  const env = { ...packerAsked, GOTOOLCHAIN: "local", CHECKPOINT_DISABLE: "1", TF_CLI_CONFIG_FILE: "/dev/null" };
  const options = { cwd: "/", env, timeout: seconds(20), ...(signal === undefined ? {} : { signal }) };
  const told = await run(path, args, { ...options, accept: [0, 1, 255] }).catch(() => undefined);
  return /(\d+(?:\.\d+)+)/.exec(`${told?.stdout ?? ""}\n${told?.stderr ?? ""}`)?.[1] ?? "";
}

/** By booting something, which needs QEMU; nothing to say while there is none. */
async function tryAccelerator({
  host,
  paths,
  signal,
}: GatherOptions): Promise<Pick<Facts, "accelerator" | "bootsNothing">> {
  if (otherMachine(host) !== undefined) return {};
  if (findProgram("qemu-system-x86_64") === undefined) return {};
  try {
    return { accelerator: await probeAccelerator({ cache: paths.cache, ...(signal === undefined ? {} : { signal }) }) };
  } catch (error) {
    signal?.throwIfAborted();
    if (!(error instanceof KpiError)) throw error;
    return { bootsNothing: [error.what, ...error.details].join("; ") };
  }
}

/** A bridge, a tap device and address translation in a network of our own: what a lab's network is made of. */
function tryNetwork(signal?: AbortSignal): Promise<Tried> {
  const script =
    "ip link add kpi0 type bridge && ip tuntap add dev kpi1 mode tap && ip link set kpi1 master kpi0 && ip link set kpi0 up";
  return tryCommand("unshare", ["--net", "sh", "-c", script], signal);
}

async function tryCommand(command: string, args: readonly string[], signal?: AbortSignal): Promise<Tried> {
  try {
    await run(command, args, { timeout: seconds(20), ...(signal === undefined ? {} : { signal }) });
    return { works: true };
  } catch (error) {
    signal?.throwIfAborted();
    const { details = [], message } = error as Error & { details?: readonly string[] };
    return { works: false, why: details.at(-1) ?? message };
  }
}

async function tryLoopback(): Promise<Tried> {
  const server = createServer();
  const { promise, resolve } = Promise.withResolvers<Tried>();
  server.once("error", (error) => resolve({ works: false, why: error.message }));
  server.listen(0, "127.0.0.1", () => resolve({ works: true }));
  const tried = await until("listening on loopback did not begin", seconds(5), () => promise);
  server.close();
  return tried;
}

async function lookAtApt(codename: string, signal?: AbortSignal): Promise<{ archive?: string; backports: boolean }> {
  const format = ["indextargets", "--no-release-info", "--format", "$(RELEASE)|$(REPO_URI)", "Created-By: Packages"];
  const told = await run("apt-get", format, signal === undefined ? {} : { signal }).catch(() => undefined);
  return readAptTargets(told?.stdout ?? "", codename);
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return "";
  }
}
