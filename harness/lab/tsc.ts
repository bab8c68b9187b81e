import { CFunction, dlopen, type Pointer, toArrayBuffer } from "bun:ffi";
import { readFileSync } from "node:fs";

/** The processor's time stamp counter and this process's clock (milliseconds) at one instant. */
export interface Instant {
  readonly ticks: bigint;
  readonly at: number;
}

/** rdtsc; shl rdx, 32; or rax, rdx; ret (Intel SDM, volume 2: RDTSC). */
const readCounter = Uint8Array.of(0x0f, 0x31, 0x48, 0xc1, 0xe2, 0x20, 0x48, 0x09, 0xd0, 0xc3);
const page = 4_096;
const [readWriteExecute, privateAnonymous] = [7, 0x22]; // mman.h

/** Whether the counter runs at one speed whatever the processor does: without that, its frequency means nothing. */
export function hasConstantCounter(cpuinfo = readFileSync("/proc/cpuinfo", "utf8")): boolean {
  return process.arch === "x64" && /^flags\s*:.*\bconstant_tsc\b/m.test(cpuinfo);
}

/** Runs `work` with a reader of the counter. Throws when the kernel gives no executable page. */
export async function withCounter<T>(work: (now: () => Instant) => Promise<T>): Promise<T> {
  const libc = dlopen("libc.so.6", {
    mmap: { args: ["ptr", "u64", "i32", "i32", "i32", "i64"], returns: "ptr" },
    munmap: { args: ["ptr", "u64"], returns: "i32" },
  });
  const code = libc.symbols.mmap(null, page, readWriteExecute, privateAnonymous, -1, 0) as Pointer;
  if (isRefused(code)) throw new Error("mmap refuses an executable page");
  new Uint8Array(toArrayBuffer(code, 0, page)).set(readCounter);
  const rdtsc = CFunction({ ptr: code, args: [], returns: "u64" }) as unknown as (() => bigint) & { close(): void };
  try {
    return await work(() => instant(rdtsc));
  } finally {
    rdtsc.close();
    libc.symbols.munmap(code, page);
  }
}

/** MAP_FAILED is -1, which bun:ffi reads as an address: without its sign, and as a bigint. Pure. */
export const isRefused = (address: number | bigint): boolean => BigInt.asIntN(64, BigInt(address)) === -1n;

/** Of some readings the one between whose two looks at the clock the least time has passed: nothing came between. */
function instant(rdtsc: () => bigint): Instant {
  let best: (Instant & { width: number }) | undefined;
  for (let round = 0; round < 50; round += 1) {
    const before = performance.now();
    const ticks = rdtsc();
    const after = performance.now();
    if (best === undefined || after - before < best.width)
      best = { ticks, at: (before + after) / 2, width: after - before };
  }
  if (best === undefined) throw new Error("no reading");
  return best;
}

/** The counter's frequency in kHz from two instants; the further apart, the better: a tenth of a second gives four digits. Pure. */
export function counterKhz(first: Instant, second: Instant): number {
  return Math.round(Number(second.ticks - first.ticks) / (second.at - first.at));
}
