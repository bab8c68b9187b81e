import { BlockList, isIPv4 } from "node:net";

/** An IPv4 network. `first` is its network address, `last` its broadcast address, both as 32-bit numbers. */
export interface Network {
  readonly cidr: string;
  readonly first: number;
  readonly last: number;
  readonly prefix: number;
}

/** Parses `10.0.0.0/8`. Host bits may be set: `first` and `cidr` have them cleared. Undefined when the text is no CIDR. */
export function parseNetwork(text: string): Network | undefined {
  const [base = "", bits = "", more] = text.split("/");
  const address = addressNumber(base);
  if (address === undefined || more !== undefined || !/^([0-9]|[12][0-9]|3[0-2])$/.test(bits)) return undefined;
  const prefix = Number(bits);
  const size = 2 ** (32 - prefix);
  const first = address - (address % size);
  return { cidr: `${addressText(first)}/${prefix}`, first, last: first + size - 1, prefix };
}

/** `10.0.0.1` as a 32-bit number; undefined when the text is no IPv4 address. */
export function addressNumber(text: string): number | undefined {
  return isIPv4(text) ? text.split(".").reduce((total, octet) => total * 256 + Number(octet), 0) : undefined;
}

/** The dotted form of a 32-bit number. */
export function addressText(address: number): string {
  return [24, 16, 8, 0].map((shift) => Math.floor(address / 2 ** shift) % 256).join(".");
}

/** Whether the address lies in the network, its network and broadcast address included. */
export function contains({ first, last }: Network, address: string): boolean {
  const number = addressNumber(address);
  return number !== undefined && first <= number && number <= last;
}

/** Whether the networks share an address. */
export function overlap(a: Network, b: Network): boolean {
  return a.first <= b.last && b.first <= a.last;
}

/** What the network's own addresses are called, or undefined for one that a machine may have. */
export function reservedIn({ first, last }: Network, address: string): "network" | "broadcast" | undefined {
  const number = addressNumber(address);
  if (number === first) return "network";
  return number === last ? "broadcast" : undefined;
}

const unusable = new BlockList();
unusable.addSubnet("0.0.0.0", 8);
unusable.addSubnet("127.0.0.0", 8);
unusable.addSubnet("169.254.0.0", 16);
unusable.addSubnet("224.0.0.0", 3);

/** Whether no machine on a network can have this address: this-network, loopback, link-local, multicast, reserved. */
export function isUnusable(address: string): boolean {
  return unusable.check(address, "ipv4");
}
