import { diskFull } from "./libvirt-domain.ts";

/** Something that happened to a domain. `lost`: it can no longer run by itself, and why; `hint`: what helps. */
export interface DomainEvent {
  /** ISO 8601, UTC, the hypervisor's clock. */
  readonly at: string;
  readonly domain: string;
  /** libvirt's name for it: lifecycle, io-error, reboot, ... */
  readonly kind: string;
  readonly detail: string;
  readonly lost?: string;
  readonly hint?: string;
}

const shape = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d\.\d+)\+0000: event '([\w-]+)' for domain '([^']+)'(?:: (.*))?$/;

/** Reads a line of `virsh event --all --loop --timestamp`; undefined when it is about something else. */
export function parseEvent(line: string): DomainEvent | undefined {
  const [, day, time, kind = "", domain = "", detail = ""] = shape.exec(line) ?? [];
  return day === undefined ? undefined : { at: `${day}T${time}Z`, domain, kind, detail, ...whyLost(kind, detail) };
}

/** libvirt tells an I/O error twice, the second time with its reason; the pause that follows is a lifecycle event. */
function whyLost(kind: string, detail: string): { readonly lost?: string; readonly hint?: string } {
  const full = kind === "io-error" ? /^(.*) \([^)]*\) pause due to enospc$/.exec(detail) : null;
  if (full !== null) return diskFull(full[1] ?? "");
  if (kind !== "lifecycle") return {};
  if (detail === "Suspended I/O Error") return { lost: "paused by an I/O error of its disk" };
  if (detail.startsWith("Crashed")) return { lost: "its guest crashed" };
  if (detail.startsWith("Stopped"))
    return { lost: `its domain ended (${detail.slice("Stopped ".length).toLowerCase()})` };
  return {};
}
