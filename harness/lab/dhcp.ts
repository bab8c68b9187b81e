import { KpiError } from "../core/errors.ts";
import type { RunningLab } from "./lab.ts";

/** How many packets to or from DHCP's ports (RFC 2131, RFC 8415) have come to the lab's bridge since the lab began: init.sh counts them. */
export async function countDhcp(lab: RunningLab): Promise<number> {
  const { stdout } = await lab.enter("ebtables", ["-t", "nat", "-L", "PREROUTING", "--Lc"]);
  return parseDhcpCount(stdout);
}

/** Starts to count anew, for who has broken a lab and healed it: ebtables on nftables cannot set a counter to zero. */
export async function forgetDhcp(lab: RunningLab): Promise<void> {
  const rule = ["PREROUTING", "-p", "IPv4", "--ip-protocol", "udp", "--ip-destination-port", "67:68"]; // as in init.sh
  for (const act of ["-D", "-A"]) await lab.enter("ebtables", ["-t", "nat", act, ...rule]);
}

/** The sum of what `ebtables -L --Lc` counted. Throws a `contract` error when a rule is missing: zero would be a lie. Pure. */
export function parseDhcpCount(text: string): number {
  const counts = [...text.matchAll(/ip6?-dport (?:67:68|546:547).*pcnt = (\d+)/g)].map(([, count]) => Number(count));
  if (counts.length === 2) return counts.reduce((sum, count) => sum + count, 0);
  throw new KpiError("contract", "the lab does not count DHCP packets", { details: text.split("\n").slice(0, 8) });
}
