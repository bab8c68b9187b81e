import { randomBytes } from "node:crypto";
import { existsSync, mkdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { KpiError } from "../core/errors.ts";
import { dnsmasqConf, type LabOptions, type LabRecord, libvirtdConf, networkXml, qemuConf } from "./config.ts";
import { isCovered, labLayout } from "./layout.ts";

/** What makes a lab, runs in it or breaks its network on purpose, apart from a shell's everyday tools, and the Debian package that has it. */
export const labPrograms = {
  libvirtd: "libvirt-daemon-system",
  virsh: "libvirt-clients",
  dnsmasq: "dnsmasq-base",
  unshare: "util-linux",
  nsenter: "util-linux",
  setpriv: "util-linux",
  ip: "iproute2",
  ebtables: "iptables",
  iptables: "iptables",
  mount: "mount",
} as const;
/** The lab's own directories are mounted here; they come with libvirt, and nothing is made in the host's tree. */
const mountPoints = ["/etc/libvirt", "/var/lib/libvirt", "/var/cache/libvirt", "/var/log/libvirt"];
/** The libvirt drivers that a cluster uses. Others only cost: nwfilter calls ebtables, nodedev wants udev. */
const drivers = ["qemu", "network", "storage"];
/** Where libvirt's drivers lie on Debian and Ubuntu. */
const qemuDriver = new Bun.Glob("lib/*/libvirt/connection-driver/libvirt_driver_qemu.so");

/** Writes all files of a lab into its new directory, `lab.json` first. Throws a `host` error when this machine cannot hold one. */
export function prepareLab(options: LabOptions): void {
  checkHost(options);
  const layout = labLayout(options.dir);
  mkdirSync(options.dir, { recursive: true, mode: 0o700 });
  const { name, network, names, files } = options;
  const record: LabRecord = { name, network, names, files, user: "kpi", since: new Date().toISOString() };
  write(layout.options, JSON.stringify(record, null, 2));
  write(layout.secret, randomBytes(24).toString("hex"));
  for (const { host } of [
    layout.etc,
    layout.run,
    layout.cache,
    layout.pool,
    layout.boot,
    layout.console,
    layout.shares,
  ]) {
    mkdirSync(host, { recursive: true, mode: 0o700 });
  }
  mkdirSync(join(layout.dir, "lib", "dnsmasq"), { mode: 0o700 }); // libvirt lists the bridge's MACs here and does not make it
  const networks = join(layout.etc.host, "qemu", "networks");
  mkdirSync(join(networks, "autostart"), { recursive: true, mode: 0o700 });
  write(join(layout.etc.host, "libvirtd.conf"), libvirtdConf);
  write(join(layout.etc.host, "qemu.conf"), qemuConf);
  write(join(layout.dir, "lib", "dnsmasq", "resolver.conf"), dnsmasqConf(record)); // where AppArmor lets dnsmasq read, if it cares
  write(join(networks, `${network.name}.xml`), networkXml(network));
  symlinkSync(`../${network.name}.xml`, join(networks, "autostart", `${network.name}.xml`));
  if (options.cacheDir !== undefined) {
    mkdirSync(options.cacheDir, { recursive: true, mode: 0o700 });
    rmSync(layout.cache.host, { recursive: true });
    symlinkSync(options.cacheDir, layout.cache.host);
  }
  for (const [share, dir] of Object.entries(options.shares ?? {})) symlinkSync(dir, join(layout.shares.host, share));
  linkDrivers(join(layout.dir, "drivers"));
}

function checkHost({ dir, files, shares = {} }: LabOptions): void {
  if (process.getuid?.() !== 0) {
    throw new KpiError("host", "a lab needs root: it makes namespaces, mounts and a bridge", {
      hint: "run it with sudo, or use --host qemu:///system",
    });
  }
  const missing = Object.entries(labPrograms).filter(([program]) => Bun.which(program, { PATH: searchPath }) === null);
  if (missing.length > 0) {
    throw new KpiError("host", `lab: ${missing.map(([program]) => program).join(", ")} missing`, {
      hint: `apt-get install -y ${[...new Set(missing.map(([, name]) => name))].join(" ")}`,
    });
  }
  const nowhere = [...mountPoints, "/dev/net/tun"].filter((path) => !existsSync(path));
  if (nowhere.length > 0)
    throw new KpiError("host", `lab: ${nowhere.join(", ")} missing`, {
      hint: "apt-get install -y libvirt-daemon-system; modprobe tun",
    });
  if (isCovered(import.meta.dir))
    throw new KpiError("host", "lab: the checkout of kpi is hidden inside it", { got: import.meta.dir });
  for (const path of [...Object.values(files), ...Object.values(shares)]) {
    if (!existsSync(path)) throw new KpiError("host", "lab: a file that it should serve does not exist", { got: path });
    if (isCovered(realpathSync(path)))
      throw new KpiError("host", "lab: a file that it should serve is hidden inside it", {
        got: path,
        hint: `keep it outside ${dir} and of /run and libvirt's directories`,
      });
  }
  for (const share of Object.keys(shares)) {
    if (basename(share) !== share || share.startsWith("."))
      throw new KpiError("host", "lab: a share's key is no plain name", { got: share });
  }
}

/** PATH of everything in a lab, and of what is looked for. */
export const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** libvirtd loads the drivers that it finds in a directory of ours. Without it (not found), it loads all that are installed. */
function linkDrivers(target: string): void {
  const found = [...qemuDriver.scanSync({ cwd: "/usr", absolute: true })][0];
  if (found === undefined) return;
  mkdirSync(target, { mode: 0o700 });
  for (const driver of drivers) {
    const file = found.replace("_qemu.so", `_${driver}.so`);
    if (existsSync(file)) symlinkSync(file, join(target, basename(file)));
  }
}

function write(path: string, text: string): void {
  writeFileSync(path, `${text.trimEnd()}\n`, { mode: 0o600 });
}
