import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { run } from "../harness/kit.ts";

const ours = /^(qemu-system|libvirtd|dnsmasq|terraform|packer|genisoimage|mkisofs|qemu-img|mmdebstrap)/;

/** What a run may leave on a machine: processes, namespaces, mounts, interfaces, loop devices, files in temporary places. Stable lines. */
export async function machineLeaks(): Promise<string[]> {
  const pids = readdirSync("/proc").filter((entry) => /^\d+$/.test(entry) && !isZombie(entry));
  const names = pids.flatMap((pid) => attempt(() => readFileSync(`/proc/${pid}/comm`, "utf8").trim()));
  const spaces = (["net", "mnt", "pid"] as const).flatMap((kind) =>
    pids.flatMap((pid) => attempt(() => readlinkSync(`/proc/${pid}/ns/${kind}`))),
  );
  const links = (await run("ip", ["-o", "link"])).stdout
    .split("\n")
    .map((line) => line.split(": ")[1]?.split("@")[0] ?? "");
  const mounts = readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .map((line) => line.split(" ")[1] ?? "");
  const files = ["/tmp", "/run", "/var/tmp"].flatMap((dir) => readdirSync(dir).map((name) => `${dir}/${name}`));
  return [
    ...names.filter((name) => ours.test(name)).map((name) => `process ${name}`),
    ...new Set(spaces.map((space) => `namespace ${space}`)),
    ...links.filter((name) => /^(virbr|vnet|veth|tap|kpi|flannel)/.test(name)).map((name) => `link ${name}`),
    ...mounts.filter((path) => /kpi|libvirt|mmdebstrap/.test(path)).map((path) => `mount ${path}`),
    ...files.filter((path) => /packer|mmdebstrap|terraform/.test(path)).map((path) => `file ${path}`),
  ].sort();
}

/** What is there now and was not before; what others have removed meanwhile is no leak of ours. */
export async function newLeaks(before: readonly string[]): Promise<string[]> {
  const old = [...before];
  return (await machineLeaks()).filter((line) => {
    const at = old.indexOf(line);
    if (at >= 0) old.splice(at, 1);
    return at < 0;
  });
}

/** A process that has ended and waits for the machine's init to collect it: it runs nothing and holds nothing, yet /proc still shows its PID namespace. */
function isZombie(pid: string): boolean {
  return attempt(() => readFileSync(`/proc/${pid}/stat`, "utf8")).some((stat) => /\) Z /.test(stat));
}

function attempt(read: () => string): string[] {
  try {
    return [read()];
  } catch {
    return []; // the process is gone
  }
}
