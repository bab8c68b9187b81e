import { rmSync } from "node:fs";
import { notYet, until } from "../core/deadline.ts";
import { milliseconds, seconds } from "../core/duration.ts";
import { readSound } from "../tools/whole-file.ts";
import { checkLabDir, labLayout } from "./layout.ts";
import { findInit, holdNamespaces, identify, type LabIdentity, labProcesses, processesIn } from "./process.ts";

/**
 * Ends the lab in this directory, whatever state it is in, and removes the directory. Does nothing when there is none, or none can be.
 * Guests are not shut down but killed, with everything else. Not abortable: it is what an abort leads to.
 */
export async function destroyLab(dir: string): Promise<void> {
  if (!isLabDir(dir)) return;
  await stopLab(dir);
  rmSync(dir, { recursive: true, force: true });
}

/** Whether a lab can be in this directory. */
export function isLabDir(dir: string): boolean {
  try {
    checkLabDir(dir);
    return true;
  } catch {
    return false;
  }
}

/** Ends it and keeps its files. Resolves when the kernel has removed the last process of its namespaces. */
export async function stopLab(dir: string): Promise<void> {
  using held = new DisposableStack();
  const inits = new Map<number, LabIdentity>();
  const add = (identity: LabIdentity | undefined) => {
    if (identity === undefined || inits.has(identity.pid)) return;
    const namespaces = holdNamespaces(identity);
    if (namespaces === undefined) return; // it has ended, and the kernel ends the rest
    held.use(namespaces);
    inits.set(identity.pid, identity);
  };
  add(readSound<LabIdentity>(labLayout(dir).running));
  add(findInit(dir));
  await until(
    `the processes of lab ${dir} do not end`,
    seconds(30),
    () => {
      // A launcher may have made an init since the last look, so look again each time.
      const launchers = labProcesses().filter((found) => found.dir === dir);
      for (const { pid } of launchers) {
        const identity = identify(pid);
        if (identity !== undefined && identity.namespaces.pid !== ours) add(identity);
      }
      const left = new Set([...launchers.map(({ pid }) => pid), ...[...inits.values()].flatMap(processesIn)]);
      for (const pid of left) kill(pid);
      if (left.size > 0) notYet(`${left.size} processes`);
    },
    { every: milliseconds(20), hint: "a process in state D holds it; see ps" },
  );
}

const ours = identify(process.pid)?.namespaces.pid;

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // gone already
  }
}
