import { orAborted } from "../core/deadline.ts";
import { seconds } from "../core/duration.ts";
import { type CommandResult, run, shellQuote } from "../tools/exec.ts";
import { remoteMachine } from "../tools/libvirt-uri.ts";
import type { Check, Fix } from "./doctor-check.ts";

/** What a libvirt host that is not a lab says about itself. */
export interface HypervisorFacts {
  readonly uri: string;
  /** For a remote one: what a person types after `ssh`, and why that leads nowhere, if so: then nothing else is known. */
  readonly ssh?: string;
  readonly unreached?: string;
  /** Whether libvirt answers at the URI, and what it says if not. */
  readonly libvirt: { readonly works: true } | { readonly works: false; readonly why: string };
  readonly root: boolean;
  readonly user: string;
  readonly home: string;
  readonly groups: readonly string[];
  /** Whether libvirt can run machines with KVM there, as it says. */
  readonly kvm: boolean;
  readonly cpus: number;
  readonly availableMiB: number;
  readonly freeGiB: number;
  /** Settings of libvirtd.conf that matter here; absent when it cannot be read. */
  readonly settings?: Readonly<Record<string, string>>;
  readonly pool: LibvirtObject;
  readonly network: LibvirtObject;
}

/** A pool or network that must be there before the cluster. */
interface LibvirtObject {
  readonly name: string;
  readonly defined: boolean;
  readonly running: boolean;
  readonly autostart: boolean;
  /** Free in a pool that runs. */
  readonly availableGiB?: number;
}

/** What platform.md promises of libvirtd. */
const wantedSettings = {
  listen_tls: "0",
  listen_tcp: "0",
  unix_sock_group: "libvirt",
  unix_sock_rw_perms: "0770",
} as const;

/** Runs on the hypervisor, which may be another machine: plain sh, one `name=value` line each, nothing is changed. */
const look = `
echo "uid=$(id -u)"; echo "user=$(id -un)"; echo "home=$HOME"; echo "groups=$(id -Gn)"
echo "cpus=$(nproc)"
awk '/^MemAvailable/ { print "memory=" $2 }' /proc/meminfo
df -Pk "$HOME" | awk 'NR == 2 { print "disk=" $4 }'
if [ -r /etc/libvirt/libvirtd.conf ]; then echo conf=readable; sed -n 's/^ *\\([a-z_]*\\) *= *"\\{0,1\\}\\([^" #]*\\).*/set \\1=\\2/p' /etc/libvirt/libvirtd.conf; fi
`;

/** Asks libvirt at the URI, and the machine behind it by ssh if it is another one. */
export async function lookAtHypervisor(
  uri: string,
  names: { readonly pool: string; readonly network: string },
  signal?: AbortSignal,
): Promise<HypervisorFacts> {
  const machine = remoteMachine(uri);
  const ask = (command: string, args: readonly string[]) => tell(command, args, signal);
  const [told, list, kvm, pool, network] = await Promise.all([
    machine === undefined ? ask("sh", ["-c", look]) : ask("ssh", [...machine.ssh, look]),
    ask("virsh", ["-c", uri, "list", "--all", "--name"]),
    ask("virsh", ["-c", uri, "domcapabilities", "--virttype", "kvm"]),
    ask("virsh", ["-c", uri, "pool-info", names.pool]),
    ask("virsh", ["-c", uri, "net-info", names.network]),
  ]);
  const answers = list.code === 0;
  return {
    uri,
    ...(machine === undefined ? {} : { ssh: machine.typed }),
    ...(machine === undefined || told.code === 0 ? {} : { unreached: lastLine(told) }),
    libvirt: answers ? { works: true } : { works: false, why: lastLine(list) },
    ...readLook(told.stdout),
    kvm: kvm.code === 0,
    pool: { name: names.pool, ...readInfo(pool) },
    network: { name: names.network, ...readInfo(network) },
  };
}

/** Parses what `look` printed. */
export function readLook(
  text: string,
): Omit<HypervisorFacts, "uri" | "ssh" | "unreached" | "libvirt" | "kvm" | "pool" | "network"> {
  const lines = text.split("\n");
  const value = (name: string) => lines.find((line) => line.startsWith(`${name}=`))?.slice(name.length + 1) ?? "";
  const settings = lines
    .filter((line) => line.startsWith("set "))
    .map((line) => line.slice(4).split("=", 2) as [string, string]);
  return {
    root: value("uid") === "0",
    user: value("user"),
    home: value("home"),
    groups: value("groups").split(" ").filter(Boolean),
    cpus: Number(value("cpus")),
    availableMiB: Math.floor(Number(value("memory")) / 1_024),
    freeGiB: Math.floor(Number(value("disk")) / 2 ** 20),
    ...(value("conf") === "readable" ? { settings: Object.fromEntries(settings) } : {}),
  };
}

/** Reads what `virsh pool-info` and `virsh net-info` say; their failure means that there is no such thing. */
export function readInfo({ code, stdout }: Pick<CommandResult, "code" | "stdout">): Omit<LibvirtObject, "name"> {
  // `0.00 B` where it is full.
  const [, size = "", unit = ""] = /^Available:\s+([\d.]+) (B|[KMGTPE]iB)/m.exec(stdout) ?? [];
  const steps = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"].indexOf(unit) - 3;
  const available = size === "" ? undefined : Math.floor(Number(size) * 1_024 ** steps);
  return {
    defined: code === 0,
    running: /^(State:\s+running|Active:\s+yes)/m.test(stdout),
    autostart: /^Autostart:\s+yes/m.test(stdout),
    ...(available === undefined ? {} : { availableGiB: available }),
  };
}

/** The checks of a hypervisor that runs its own libvirtd; `install` is how it gets one if it is this machine. */
export function checkHypervisor(facts: HypervisorFacts, install: Fix | undefined): Check[] {
  const { pool, network, home, unreached } = facts;
  if (unreached !== undefined) return [checkSsh(facts, unreached)];
  return [
    checkLibvirt(facts, install),
    ...(facts.ssh === undefined ? [] : [checkKvm(facts)]), // on this machine it is proved by booting something
    checkGroups(facts),
    checkSettings(facts),
    checkObject(facts, pool, "pool", "it holds the base image and the disks", [
      `pool-define-as ${pool.name} dir --target ${home}/${pool.name}`,
      `pool-build ${pool.name}`,
    ]),
    checkObject(facts, network, "net", "the nodes are attached to it", [
      "net-define /usr/share/libvirt/networks/default.xml",
    ]),
  ];
}

function checkSsh({ ssh = "", uri }: HypervisorFacts, unreached: string): Check {
  return {
    id: "ssh",
    title: "ssh to the hypervisor",
    outcome: "missing",
    seen: unreached,
    why: `libvirt at ${uri} is reached by it, and so are the nodes`,
    needed: true,
    fix: { command: `ssh ${ssh} true   # must end well, and ask nothing`, automatic: false },
  };
}

function checkLibvirt({ uri, libvirt, ssh }: HypervisorFacts, install: Fix | undefined): Check {
  const start = "systemctl enable --now libvirtd";
  const command = ssh === undefined ? start : `ssh ${ssh} virsh -c qemu:///system list --all`;
  return {
    id: "libvirt",
    title: "libvirt answers",
    outcome: libvirt.works ? "ok" : "missing",
    seen: libvirt.works ? uri : libvirt.why,
    why: `the cluster's machines are made at ${uri}`,
    needed: true,
    ...(libvirt.works ? {} : { fix: (ssh === undefined ? install : undefined) ?? { command, automatic: false } }),
  };
}

function checkKvm({ kvm }: HypervisorFacts): Check {
  return {
    id: "kvm",
    title: "KVM",
    outcome: kvm ? "ok" : "missing",
    seen: kvm ? "libvirt has it" : "libvirt has none",
    why: "without it the nodes are emulated, about ten times slower",
    needed: false,
    ...(kvm
      ? {}
      : {
          fix: {
            command: "# turn virtualisation on in the firmware, then: modprobe -a kvm_intel kvm_amd",
            automatic: false,
          },
        }),
  };
}

function checkGroups(facts: HypervisorFacts): Check {
  const lacking = facts.root ? [] : ["kvm", "libvirt"].filter((group) => !facts.groups.includes(group));
  return {
    id: "groups",
    title: "groups kvm and libvirt",
    outcome: lacking.length === 0 ? "ok" : "missing",
    seen: facts.root
      ? "root needs none"
      : lacking.length === 0
        ? facts.user
        : `${facts.user} is not in ${lacking.join(" and ")}`,
    why: "they may use KVM and libvirt's socket",
    needed: true,
    ...(lacking.length === 0
      ? {}
      : {
          fix: {
            command: there(facts, `sudo usermod -aG ${lacking.join(",")} ${facts.user}`, "then log in again"),
            automatic: false,
          },
        }),
  };
}

function checkSettings(facts: HypervisorFacts): Check {
  const { settings } = facts;
  const differ = Object.entries(wantedSettings).filter(([name, value]) => settings?.[name] !== value);
  const ok = settings !== undefined && differ.length === 0;
  const file = "/etc/libvirt/libvirtd.conf";
  const line = ([name, value]: readonly [string, string]) => `${name} = ${/^\d$/.test(value) ? value : `"${value}"`}`;
  const edit = [
    `sed -i -E '/^ *(${differ.map(([name]) => name).join("|")}) *=/d' ${file}`,
    `printf '%s\\n' ${differ.map((setting) => `'${line(setting)}'`).join(" ")} >> ${file}`,
    "{ systemctl try-restart libvirtd || true; }",
  ].join(" && ");
  return {
    id: "libvirtd settings",
    title: "libvirtd settings",
    outcome: ok ? "ok" : "wrong",
    seen:
      settings === undefined
        ? `${file} cannot be read`
        : ok
          ? "no TLS or TCP, socket for group libvirt"
          : differ.map(([name]) => `${name} is ${settings[name] ?? "not set"}`).join(", "),
    why: "libvirt is to be reached through its socket by its group, and by ssh",
    needed: false,
    ...(ok || settings === undefined
      ? {}
      : {
          fix: {
            command: there(facts, edit),
            automatic: facts.root && facts.ssh === undefined,
          },
        }),
  };
}

function checkObject(
  { uri, libvirt }: HypervisorFacts,
  { name, defined, running, autostart }: LibvirtObject,
  kind: "pool" | "net",
  why: string,
  define: readonly string[],
): Check {
  const steps = [
    ...(defined ? [] : define),
    ...(running ? [] : [`${kind}-start ${name}`]),
    ...(autostart ? [] : [`${kind}-autostart ${name}`]),
  ];
  const title = `${kind === "pool" ? "pool" : "network"} ${name}`;
  const common = { id: kind === "pool" ? "pool" : "libvirt network", title, why, needed: true };
  if (steps.length === 0) return { ...common, outcome: "ok", seen: "defined, running, autostarted" };
  const seen = !defined ? "not defined" : !running ? "not started" : "not autostarted";
  const command = steps.map((step) => `virsh -c ${shellQuote([uri])} ${step}`).join(" && ");
  return { ...common, outcome: defined ? "wrong" : "missing", seen, fix: { command, automatic: libvirt.works } };
}

/** The command as it must be typed here. */
function there({ ssh }: HypervisorFacts, command: string, then?: string): string {
  const here = ssh === undefined ? command : `ssh -t ${ssh} ${shellQuote([command])}`;
  return then === undefined ? here : `${here}   # ${then}`;
}

async function tell(command: string, args: readonly string[], signal?: AbortSignal): Promise<CommandResult> {
  const accept = Array.from({ length: 256 }, (_, code) => code);
  const failed = { code: 127, stdout: "", stderr: `${command} is missing`, elapsed: seconds(0) };
  const told = run(command, args, { accept, timeout: seconds(30), ...(signal === undefined ? {} : { signal }) });
  return orAborted(
    signal ?? new AbortController().signal,
    told.catch(() => failed),
  );
}

const lastLine = ({ stdout, stderr }: CommandResult): string =>
  (stderr.trim() || stdout.trim()).split("\n").at(-1) ?? "";
