/** States of a domain, in the order of libvirt's virDomainState. */
const states = ["no state", "running", "blocked", "paused", "in shutdown", "shut off", "crashed", "suspended"] as const;
export type DomainState = (typeof states)[number];

/** Reasons that tell something, by state and libvirt's number for it; all others are not told apart. */
const reasons: Partial<Record<DomainState, Readonly<Record<number, DomainReason>>>> = {
  paused: { 1: "user", 3: "save", 5: "ioerror", 6: "watchdog", 10: "crashed", 11: "starting up" },
  "shut off": { 1: "shutdown", 2: "destroyed", 3: "crashed", 5: "saved", 6: "failed" },
  crashed: { 1: "panicked" },
};
export type DomainReason =
  | "user"
  | "save"
  | "ioerror"
  | "watchdog"
  | "crashed"
  | "starting up"
  | "shutdown"
  | "destroyed"
  | "saved"
  | "failed"
  | "panicked"
  | "other";

/** A disk of a domain. Bytes: `capacity` as the guest sees it, `allocation` as the host's file system holds. The path is the hypervisor's. */
export interface DomainDisk {
  readonly target: string;
  readonly path: string;
  readonly capacity: number;
  readonly allocation: number;
}

export interface Domain {
  readonly name: string;
  readonly state: DomainState;
  readonly reason: DomainReason;
  /** Why it can no longer run, and what helps; absent for a healthy one. */
  readonly lost?: string;
  readonly hint?: string;
  /** What QEMU holds of the host's memory; 0 when it is off. */
  readonly residentMiB: number;
  readonly memoryMiB: number;
  readonly disks: readonly DomainDisk[];
}

/** Reads the output of `virsh domstats --state --balloon --block`: a paragraph a domain, of `key=value` lines. */
export function parseDomains(text: string): Domain[] {
  return text
    .split(/^Domain: /m)
    .slice(1)
    .map((paragraph) => {
      const name = /^'(.*)'$/m.exec(paragraph)?.[1] ?? "";
      const values = new Map(
        [...paragraph.matchAll(/^ +([\w.-]+)=(.*)$/gm)].map(([, key = "", value = ""]) => [key, value]),
      );
      const number = (key: string) => Number(values.get(key) ?? 0);
      const state = states[number("state.state")] ?? "no state";
      const reason = reasons[state]?.[number("state.reason")] ?? "other";
      const lost = whyLost(state, reason);
      return {
        name,
        state,
        reason,
        ...(lost === undefined ? {} : { lost }),
        residentMiB: Math.round(number("balloon.rss") / 1_024),
        memoryMiB: Math.round(number("balloon.maximum") / 1_024),
        disks: Array.from({ length: number("block.count") }, (_, index) => ({
          target: values.get(`block.${index}.name`) ?? "",
          path: values.get(`block.${index}.path`) ?? "",
          capacity: number(`block.${index}.capacity`),
          allocation: number(`block.${index}.physical`),
        })),
      };
    });
}

/** Why a domain in this state will not go on by itself; undefined when it may. */
function whyLost(state: DomainState, reason: DomainReason): string | undefined {
  if (state === "crashed") return "its guest crashed";
  if (state === "shut off" && reason !== "saved")
    return reason === "failed" || reason === "crashed" ? `its QEMU ${reason}` : "it is switched off";
  if (state !== "paused") return undefined;
  if (reason === "ioerror") return "paused by an I/O error of its disk";
  return reason === "crashed" || reason === "watchdog" ? `paused: ${reason}` : undefined;
}

/** The words for a guest whose disk has no room left on the host. */
export function diskFull(path: string): { readonly lost: string; readonly hint: string } {
  return {
    lost: `paused: no space left on the host for its disk ${path}`,
    hint: "free space on the file system that holds the disk, then: virsh resume",
  };
}
