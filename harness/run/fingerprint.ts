import { cpus, loadavg, release, totalmem } from "node:os";
import { seconds } from "../core/duration.ts";
import { run } from "../tools/exec.ts";

/** What a timing can be compared by: the machine it was measured on. Memory in MiB, load of the last minute. */
export type Fingerprint = Readonly<Record<string, string | number>>;

/** What needs asking nobody. */
export function fingerprint(): Fingerprint {
  return {
    kernel: release(),
    cpu: cpus()[0]?.model ?? "unknown",
    cpus: cpus().length,
    memoryMiB: Math.round(totalmem() / 1_048_576),
    load: Math.round(100 * (loadavg()[0] ?? 0)) / 100,
  };
}

/** The same with the versions of QEMU and libvirt, which are `absent` where there are none. */
export async function fullFingerprint(signal?: AbortSignal): Promise<Fingerprint> {
  const first = async (program: string) => {
    const options = { cwd: "/", timeout: seconds(20), ...(signal === undefined ? {} : { signal }) };
    const { stdout } = await run(program, ["--version"], options).catch(() => ({ stdout: "absent" }));
    return (stdout.split("\n")[0] ?? "").replace(/^(?:QEMU emulator version|libvirtd \(libvirt\)) /, "");
  };
  const [qemu, libvirt] = await Promise.all([first("qemu-system-x86_64"), first("libvirtd")]);
  return { ...fingerprint(), qemu, libvirt };
}
