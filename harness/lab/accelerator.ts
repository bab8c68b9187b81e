import { constants } from "node:fs";
import { access, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { cpus, release } from "node:os";
import { join } from "node:path";
import { formatDuration, minutes, seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { entries } from "../tools/directory.ts";
import { run } from "../tools/exec.ts";
import { readSound, writeWhole } from "../tools/whole-file.ts";
import { counterKhz, hasConstantCounter, withCounter } from "./tsc.ts";

/** How guests run on this machine. */
export interface Accelerator {
  readonly accelerator: "kvm" | "tcg";
  /** What was tried and what came of it, in one sentence. */
  readonly proof: string;
  /** The CPU that guests get: `host` under KVM (libvirt: host-passthrough), a model that emulates fast under TCG. */
  readonly cpuModel: string;
  /**
   * Frequency of the time stamp counter in kHz, which QEMU hands through to emulated guests. A guest that measures it by itself
   * while this machine is busy can be wrong by a factor, and so is its clock. Absent under KVM and where it is not constant.
   */
  readonly tscKhz?: number;
}

/**
 * Assembled from accelerator.s: 276 bytes of code and tables, zeros, and the boot signature. 64-bit mode, paging,
 * MSRs, a loop of 16 million rounds, SSE and a handled page fault; success ends QEMU with code 85.
 */
export const payload = Buffer.concat([
  Buffer.from(
    "fa31c08ed88ec08ed0bc007cfcbf0010b90018f3abc70600100320c70600" + // clear 0x1000-0x3fff, PML4[0]
      "200330c70600308300bf0040b98000f3abc706e040cd7cc706e2400800c7" + // PDPT[0], PD[0], gate 14: page fault
      "06e440008e0f20e0660d200600000f22e066b8001000000f22d866b98000" + // CR4: PAE, SSE; CR3; EFER
      "00c00f32660d000100000f300f0116087d0f011e0e7d0f20c06683e0fb66" + // rdmsr, LME, wrmsr; lgdt, lidt; CR0
      "0d030000800f22c0ea857c0800b8100000008ed88ec08ed0b9800000c00f" + // PG|PE; far jump; 64-bit from here
      "32a900040000742c31c00fa2b900000001ffc975fc660f76c0660f72d01f" + // LMA set?; cpuid; the loop; SSE
      "660f7ec048c7c3000020008903833b017504b02ae6f4f4ebfd500f20d048" + // store to an unmapped page; 0x2a to 0xf4
      "3d0000200075f1c704250830000083002000584883c40848cf0f1f440000" + // the fault's handler: map it, iretq
      "0000000000000000ffff0000009aaf00ffff00000092cf001700f07c0000" + // GDT: null, code, data; its register
      "ff0000400000", // IDT's register
    "hex",
  ),
  Buffer.alloc(234),
  Buffer.from([0x55, 0xaa]),
]);
const passed = 85;

/** KVM answers in a fraction of a second; what has not ended by then hangs. */
const limit = seconds(8);

/** For so long a failure of KVM that may pass is believed. Then one process asks KVM again, the others meanwhile believe on. */
const believed = minutes(15);

interface Kept {
  readonly key: string;
  readonly answer: Accelerator;
  /** When KVM is asked again, in milliseconds since 1970; absent where the answer holds as long as its key. */
  readonly again?: number;
}

/**
 * Finds out by booting something: a device node, or even a virtual machine that KVM lets one make, proves nothing. The
 * answer is kept in the cache until QEMU, kernel, KVM's modules, CPU or boot of this machine change; one by a failure that may pass for a
 * quarter of an hour. Throws a `host` error when not even
 * emulation works, or there is no QEMU.
 */
export async function probeAccelerator(options: {
  readonly cache: string;
  readonly signal?: AbortSignal;
}): Promise<Accelerator> {
  const key = await machineKey(options.signal);
  const path = join(options.cache, "accelerator", "answer.json");
  const kept = readSound<Kept>(path);
  const known = kept?.key === key ? kept : undefined;
  if (known !== undefined && (known.again === undefined || Date.now() < known.again)) return known.answer;
  await mkdir(join(options.cache, "accelerator"), { recursive: true, mode: 0o700 });
  const keep = (answer: Accelerator, passing: boolean) => {
    const again = passing ? { again: Date.now() + believed } : {};
    writeWhole(path, JSON.stringify({ key, answer, ...again } satisfies Kept));
  };
  if (known !== undefined) keep(known.answer, true);
  const { answer, passing } = await probe(join(options.cache, "accelerator"), known?.answer, options.signal);
  keep(answer, passing);
  return answer;
}

/** Whether KVM may work later although nothing of this machine changes: it was busy, memory was short, or QEMU did not get far. Pure. */
export function mayPass(refusal: string): boolean {
  if (!/^QEMU gives up/.test(refusal)) return !/cannot be opened/.test(refusal); // that is part of the key
  return /busy|cannot allocate|temporarily|too many open files|interrupted/i.test(refusal);
}

/** `emulated` is what is known of emulation here, which then is not tried once more. */
async function probe(
  dir: string,
  emulated: Accelerator | undefined,
  signal?: AbortSignal,
): Promise<{ readonly answer: Accelerator; readonly passing: boolean }> {
  const image = join(dir, `payload-${process.pid}.img`);
  await writeFile(image, payload, { mode: 0o600 });
  try {
    const refused = await access("/dev/kvm", constants.R_OK | constants.W_OK).then(
      () => undefined,
      (error: NodeJS.ErrnoException) => error.code,
    );
    const kvm =
      refused === undefined ? await boot("kvm", "host", image, signal) : `/dev/kvm cannot be opened (${refused})`;
    if (kvm === true) {
      const proof = "a 64-bit boot sector ran under KVM with the host's CPU";
      return { answer: { accelerator: "kvm", proof, cpuModel: "host" }, passing: false };
    }
    const [proof, passing] = [`no KVM: ${kvm}`, mayPass(kvm)];
    if (emulated !== undefined) return { answer: { ...emulated, proof }, passing };
    const { result: tcg, ...counter } = await timed(() => boot("tcg", "qemu64", image, signal));
    if (tcg === true) return { answer: { accelerator: "tcg", proof, cpuModel: "qemu64", ...counter }, passing };
    throw new KpiError("host", "QEMU boots nothing on this machine", {
      details: [`kvm: ${kvm}`, `tcg: ${tcg}`],
      hint: "reinstall qemu-system-x86",
    });
  } finally {
    await rm(image, { force: true });
  }
}

/** Measures the counter over some work that takes a while anyway. */
async function timed<T>(work: () => Promise<T>): Promise<{ result: T; tscKhz?: number }> {
  if (!hasConstantCounter()) return { result: await work() };
  return withCounter(async (now) => {
    const before = now();
    const result = await work();
    return { result, tscKhz: counterKhz(before, now()) };
  });
}

/** True, or why it did not. A crash of QEMU (it aborts on CPUs that KVM cannot give it) must leave no core file behind. */
async function boot(
  accelerator: "kvm" | "tcg",
  cpu: string,
  image: string,
  signal?: AbortSignal,
): Promise<true | string> {
  const machine = [
    "-accel",
    accelerator,
    "-machine",
    "pc",
    "-cpu",
    cpu,
    "-m",
    "32",
    "-display",
    "none",
    "-nodefaults",
    "-no-user-config",
    "-no-reboot",
  ];
  const devices = [
    "-device",
    "isa-debug-exit,iobase=0xf4,iosize=1",
    "-drive",
    `if=floppy,format=raw,readonly=on,file=${image}`,
    "-boot",
    "a",
  ];
  const bound = accelerator === "kvm" ? limit : seconds(30);
  const options = {
    cwd: "/",
    timeout: bound,
    grace: seconds(1),
    tied: true,
    accept: [passed],
    ...(signal === undefined ? {} : { signal }),
  };
  try {
    await run("prlimit", ["--core=0", "qemu-system-x86_64", ...machine, ...devices], options);
    return true;
  } catch (error) {
    signal?.throwIfAborted();
    if (!(error instanceof KpiError)) throw error;
    const why = error.details
      .map((line) => line.replace(/^qemu-system-x86_64: /, ""))
      .find((line) => /^error:/.test(line));
    if (why !== undefined) return `QEMU gives up (${why.replace(/^error: /, "")})`;
    return /did not end/.test(error.what)
      ? `a 64-bit boot sector hangs for ${formatDuration(bound)}`
      : error.what.replace(/^prlimit/, "QEMU");
  }
}

/** Everything that an answer depends on. */
async function machineKey(signal?: AbortSignal): Promise<string> {
  const options = {
    cwd: "/",
    timeout: seconds(20),
    hint: "apt-get install -y qemu-system-x86",
    ...(signal === undefined ? {} : { signal }),
  };
  const qemu = await run("qemu-system-x86_64", ["--version"], options);
  const bootId = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "");
  const device = await access("/dev/kvm", constants.R_OK | constants.W_OK).then(
    () => "kvm",
    (error: NodeJS.ErrnoException) => `kvm ${error.code}`,
  );
  const modules = entries("/sys/module").filter((name) => name.startsWith("kvm"));
  const answers = "answers with a counter's frequency";
  const user = process.getuid?.();
  const parts = [qemu.stdout.split("\n")[0], release(), cpus()[0]?.model, bootId.trim(), device, ...modules, user];
  return [...parts, answers].join(" | ");
}
