import { dlopen } from "bun:ffi";
import { closeSync, openSync } from "node:fs";
import { KpiError } from "../core/errors.ts";

const cloneNewNet = 0x40000000; // CLONE_NEWNET of sched.h

/**
 * Opens something in another network namespace and comes back. A socket stays for ever in the namespace in which it was
 * made, so afterwards this one process serves both. `setns` moves the calling thread only; Bun makes all its sockets on
 * the thread that runs JavaScript. `there` is an open descriptor of the other namespace.
 */
export async function inNetwork<T>(there: number, open: () => Promise<T>): Promise<T> {
  const libc = dlopen("libc.so.6", { setns: { args: ["int", "int"], returns: "int" } });
  const enter = (descriptor: number, which: string) => {
    if (libc.symbols.setns(descriptor, cloneNewNet) === 0) return;
    throw new KpiError("host", `gateway: the kernel refuses to enter ${which}`, { hint: "a lab needs root" });
  };
  const here = openSync("/proc/thread-self/ns/net", "r");
  enter(there, "the host's network namespace");
  try {
    return await open();
  } finally {
    enter(here, "the lab's network namespace");
    closeSync(here);
  }
}
