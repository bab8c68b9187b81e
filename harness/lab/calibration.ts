import { createHash } from "node:crypto";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { cpus, loadavg } from "node:os";
import { join } from "node:path";
import type { Calibration } from "../core/calibration.ts";
import { seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { run } from "../tools/exec.ts";
import { readSound, writeWhole } from "../tools/whole-file.ts";
import type { Accelerator } from "./accelerator.ts";
import { bootSector, calibrationPayload } from "./calibration-payload.ts";

/** Rounds of one run: half a second or so, long against QEMU's own start and short against patience. */
const workRounds = { tcg: 120, kvm: 2_000 } as const;

/**
 * What one round takes on the reference hypervisor, in microseconds of CPU time: derived, not measured, because no machine with
 * KVM was to be had. docs/adrs/0010-calibration.md says how.
 */
export const referenceRound = 240;

const singleRuns = 3;
/** More than these at once say nothing new about a machine that runs a cluster of a few nodes. */
const mostAtOnce = 4;
const passed = 85;

export interface CalibrateOptions {
  readonly cache: string;
  readonly accelerator: Accelerator;
  /** Measure again, whatever is known. */
  readonly force?: boolean;
  readonly signal?: AbortSignal;
  readonly onStep?: (what: string) => void;
}

/**
 * How fast this machine runs guests: known for this accelerator, QEMU and CPU, or measured now (some seconds) and kept in the cache.
 * CPU time is measured, not the clock: what else runs on the machine takes time from a guest, but no work. Throws a `host` error
 * when QEMU does not do the work.
 */
export async function calibrate(options: CalibrateOptions): Promise<Calibration> {
  const { cache, accelerator, force = false, signal, onStep } = options;
  const version = await run("qemu-system-x86_64", ["--version"], { cwd: "/", timeout: seconds(20) });
  const qemu = version.stdout.split("\n")[0] ?? "";
  const cores = navigator.hardwareConcurrency;
  const machine = { accelerator: accelerator.accelerator, qemu, cpu: cpus()[0]?.model ?? "unknown", cores };
  const dir = join(cache, "calibration");
  const key = createHash("sha256").update(JSON.stringify({ ...machine, workRounds, referenceRound }));
  const path = join(dir, `${key.update(calibrationPayload).digest("hex").slice(0, 16)}.json`);
  const load = loadavg()[0] ?? 0;
  const known = readSound<Calibration>(path);
  const sound = known !== undefined && known.work > 0 && known.parallel > 0;
  // What was measured on a crowded machine is some ten percent too slow, so it is measured again once there is room.
  if (sound && !force && (known.load <= cores || load > cores)) return known;
  await mkdir(dir, { recursive: true, mode: 0o700 });
  const measured = await measure(dir, accelerator, cores, signal, onStep);
  const calibration = { ...machine, ...measured, reference: referenceRound, at: new Date().toISOString(), load };
  writeWhole(path, `${JSON.stringify(calibration, null, 2)}\n`);
  return calibration;
}

async function measure(
  dir: string,
  accelerator: Accelerator,
  cores: number,
  signal: AbortSignal | undefined,
  onStep: (what: string) => void = () => {},
): Promise<Pick<Calibration, "runs" | "work" | "parallel">> {
  const work = join(dir, `work-${process.pid}.img`);
  const empty = join(dir, `empty-${process.pid}.img`);
  await Promise.all([
    writeFile(work, bootSector(workRounds[accelerator.accelerator]), { mode: 0o600 }),
    writeFile(empty, bootSector(0), { mode: 0o600 }),
  ]);
  try {
    const cost = (image: string) => guestCpuMs(accelerator, image, signal);
    onStep("measuring what QEMU itself costs");
    const own = Math.min(await cost(empty), await cost(empty));
    const perRound = (ms: number) => Math.round((1_000 * Math.max(1, ms)) / workRounds[accelerator.accelerator]);
    const runs: number[] = [];
    for (let count = 1; count <= singleRuns; count += 1) {
      onStep(`measuring one guest, run ${count} of ${singleRuns}`);
      runs.push(perRound((await cost(work)) - own));
    }
    const together = Math.min(cores, mostAtOnce);
    onStep(`measuring ${together} guests at once`);
    const least = Math.min(...runs);
    const side = await Promise.all(Array.from({ length: together }, () => cost(work)));
    const mean = side.reduce((sum, ms) => sum + perRound(ms - own), 0) / together;
    // Threads of one core slow each other down: their work then takes more CPU time than alone.
    const parallel = cores * Math.min(1, least / mean);
    return { runs, work: least, parallel: Number(parallel.toFixed(2)) };
  } finally {
    await Promise.all([rm(work, { force: true }), rm(empty, { force: true })]);
  }
}

/** CPU time of a QEMU that boots this image until it ends by itself, in milliseconds: user and system, all threads. */
async function guestCpuMs(accelerator: Accelerator, image: string, signal?: AbortSignal): Promise<number> {
  const qemu = [
    "qemu-system-x86_64",
    ...["-accel", accelerator.accelerator, "-machine", "pc", "-cpu", accelerator.cpuModel, "-m", "32"],
    ...["-display", "none", "-nodefaults", "-no-user-config", "-no-reboot", "-boot", "a"],
    ...["-device", "isa-debug-exit,iobase=0xf4,iosize=1"],
    ...["-drive", `if=floppy,format=raw,readonly=on,file=${image}`],
  ];
  // QEMU is tied to bash as bash is to us: it ends with us, however we end, and at the time limit.
  const time = "TIMEFORMAT='%U %S'; time setpriv --pdeathsig KILL -- prlimit --core=0 \"$@\"";
  const timed = ["-c", time, "bash", ...qemu];
  const { stderr } = await run("bash", timed, {
    cwd: "/",
    timeout: seconds(60),
    tied: true,
    accept: [passed],
    hint: "QEMU does not run the calibration's guest: kpi doctor",
    ...(signal === undefined ? {} : { signal }),
  });
  const [, user, system] = /(\d+\.\d+) (\d+\.\d+)$/.exec(stderr.trim()) ?? [];
  if (user === undefined || system === undefined)
    throw new KpiError("contract", "bash did not say how long QEMU ran", {
      expected: "user and system time",
      got: stderr,
    });
  return (Number(user) + Number(system)) * 1_000;
}
