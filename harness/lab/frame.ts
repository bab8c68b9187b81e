/** Who spoke to whom in a frame, as far as claims ask: addresses and, for UDP, the port. */
export interface Frame {
  readonly from: string;
  readonly to: string;
  readonly source: string;
  readonly target: string;
  readonly protocol: "icmp" | "tcp" | "udp" | "other";
  /** UDP and TCP: where to. */
  readonly port?: number;
  /** What a VXLAN packet carries, and under which network identifier. */
  readonly vxlan?: { readonly vni: number; readonly inner: Omit<Frame, "vxlan"> };
}

const ipv4 = 0x0800;
const protocols: Readonly<Record<number, Frame["protocol"]>> = { 1: "icmp", 6: "tcp", 17: "udp" };
/** The port that flannel uses (Linux's default for VXLAN); IANA's is 4789. */
const vxlanPort = 8472;

/** Reads an Ethernet frame that carries IPv4, and what is inside if it is VXLAN (RFC 7348); undefined for all others. */
export function parseFrame(frame: Buffer, inner = false): Frame | undefined {
  if (frame.length < 34 || frame.readUInt16BE(12) !== ipv4) return undefined;
  const headerLength = (frame[14]! & 0x0f) * 4;
  const protocol = protocols[frame[23]!] ?? "other";
  const at = 14 + headerLength;
  const hasPort = (protocol === "udp" || protocol === "tcp") && frame.length >= at + 8;
  const port = hasPort ? frame.readUInt16BE(at + 2) : undefined;
  const base: Frame = {
    from: mac(frame.subarray(6, 12)),
    to: mac(frame.subarray(0, 6)),
    source: [...frame.subarray(26, 30)].join("."),
    target: [...frame.subarray(30, 34)].join("."),
    protocol,
    ...(port === undefined ? {} : { port }),
  };
  if (inner || protocol !== "udp" || port !== vxlanPort || frame.length < at + 16) return base;
  const carried = parseFrame(frame.subarray(at + 16), true);
  return carried === undefined ? base : { ...base, vxlan: { vni: frame.readUIntBE(at + 12, 3), inner: carried } };
}

const mac = (bytes: Buffer): string => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join(":");
