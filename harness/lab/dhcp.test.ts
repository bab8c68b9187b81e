import { expect, test } from "bun:test";
import { parseDhcpCount } from "./dhcp.ts";

const counted = `Bridge table: nat

Bridge chain: PREROUTING, entries: 2, policy: ACCEPT
-p IPv4 --ip-proto udp --ip-dport 67:68 -j CONTINUE , pcnt = 3 -- bcnt = 1002
-p IPv6 --ip6-proto udp --ip6-dport 546:547 -j CONTINUE , pcnt = 1 -- bcnt = 110
`;

test("both families are counted together", () => {
  expect(parseDhcpCount(counted)).toBe(4);
});

test("a rule that is missing is no zero", () => {
  expect(() => parseDhcpCount(counted.replace(/^-p IPv6.*\n/m, ""))).toThrow("does not count DHCP packets");
});
