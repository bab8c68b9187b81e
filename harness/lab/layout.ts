import { basename, dirname, join } from "node:path";
import { KpiError } from "../core/errors.ts";

/** One directory, as the host sees it and as libvirtd and QEMU in the lab see it. */
export interface LabPath {
  readonly host: string;
  readonly inside: string;
}

/** The files of a lab. Everything it makes is below `dir`; `inside` paths are the same in every lab. */
export interface LabLayout {
  readonly dir: string;
  /** What it was asked to be; written before anything else is made. */
  readonly options: string;
  /** What it turned out to be: init process and namespaces; written when it is up. */
  readonly running: string;
  /** The proxy's port; written by the gateway when it listens. */
  readonly gateway: string;
  readonly secret: string;
  readonly log: string;
  readonly libvirtLog: string;
  readonly dnsLog: string;
  readonly socket: string;
  readonly etc: LabPath;
  readonly run: LabPath;
  readonly cache: LabPath;
  readonly shares: LabPath;
  readonly pool: LabPath;
  readonly boot: LabPath;
  readonly console: LabPath;
}

/** Longest path that a Unix socket's address holds, its final NUL apart. */
const longestSocketPath = 107;
const nameRule = /^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/;
/** Host directories that something else covers inside a lab. */
const covered = [
  "/dev",
  "/run",
  "/var/run",
  "/sys",
  "/proc",
  "/etc/libvirt",
  "/var/lib/libvirt",
  "/var/cache/libvirt",
  "/var/log/libvirt",
];

/** Where the files of the lab in `dir` are. Pure. */
export function labLayout(dir: string): LabLayout {
  const at = (part: string, inside: string): LabPath => ({ host: join(dir, part), inside });
  return {
    dir,
    options: join(dir, "lab.json"),
    running: join(dir, "running.json"),
    gateway: join(dir, "gateway.json"),
    secret: join(dir, "secret"),
    log: join(dir, "lab.log"),
    libvirtLog: join(dir, "log", "libvirtd.log"),
    dnsLog: join(dir, "log", "dns.log"),
    socket: join(dir, "run", "libvirt-sock"),
    etc: at("etc", "/etc/libvirt"),
    run: at("run", "/run/libvirt"),
    cache: at("cache", "/var/cache/libvirt"),
    shares: at("shares", "/var/lib/libvirt/shares"),
    pool: at("lib/images", "/var/lib/libvirt/images"),
    boot: at("lib/boot", "/var/lib/libvirt/boot"),
    console: at("log/console", "/var/log/libvirt/console"),
  };
}

/** Throws a `host` error unless the directory can hold a lab: `<state>/labs/<name>`, short enough for a socket, visible inside. */
export function checkLabDir(dir: string): void {
  const wrong = (what: string, hint: string) => new KpiError("host", `lab: ${what}`, { got: dir, hint });
  if (!dir.startsWith("/") || basename(dirname(dir)) !== "labs" || !nameRule.test(basename(dir))) {
    throw wrong(
      "not a lab's directory",
      "it is $KPI_STATE/labs/NAME, NAME of at most 40 lower case letters, digits and dashes",
    );
  }
  if (isCovered(dir))
    throw wrong(
      "its directory would be hidden from itself",
      `set KPI_STATE to a directory outside ${covered.join(", ")}`,
    );
  const length = Buffer.byteLength(labLayout(dir).socket);
  if (length > longestSocketPath) {
    const hint = `set KPI_STATE to a path that is ${length - longestSocketPath} characters shorter`;
    throw wrong(`the path of its libvirt socket is ${length} bytes long, the kernel takes ${longestSocketPath}`, hint);
  }
}

/** Whether a host path means something else inside a lab. */
export function isCovered(path: string): boolean {
  return covered.some((root) => path === root || path.startsWith(`${root}/`));
}
