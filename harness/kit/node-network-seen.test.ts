import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type NodeNetworkSeen, parseNodeNetwork } from "./node-network-seen.ts";
import { parseNode } from "./node-seen.ts";
import { ProbeText } from "./probe-text.ts";

const probe = readFileSync(join(import.meta.dir, "..", "tools", "probe.sh"), "utf8");
const names = [...probe.matchAll(/^ *section (\w+)$/gm)].map(([, name]) => name ?? "");
/** Those of `probe.sh network`, which ends early. */
const ofNetwork = names.slice(0, names.indexOf("end") + 1);
const printed = (of: readonly string[], sections: Readonly<Record<string, string>>) =>
  new ProbeText(of.map((name) => `@@ ${name}\n${sections[name] ?? ""}\n`).join(""));

/** A probe of a node's network of which only these sections say anything. */
const seen = (sections: Readonly<Record<string, string>>): NodeNetworkSeen =>
  parseNodeNetwork(printed(ofNetwork, sections));

describe("resolvers are those that programs really ask", () => {
  const resolved = "/run/systemd/resolve/resolv.conf: nameserver 192.168.122.1";
  test("systemd-resolved's, where it is asked", () => {
    const resolv = `/etc/resolv.conf: nameserver 127.0.0.53\n/etc/resolv.conf: options edns0\n${resolved}`;
    expect(seen({ resolv }).resolvers).toEqual(["192.168.122.1"]);
  });
  test("others, where somebody wrote a resolv.conf that goes past it", () => {
    const resolv = `/etc/resolv.conf: nameserver 9.9.9.9\n${resolved}`;
    expect(seen({ resolv }).resolvers).toEqual(["9.9.9.9"]);
  });
});

describe("packet sockets tell a DHCP client, whatever it is called", () => {
  const heading = "/proc/net/packet: sk               RefCnt Type Proto  Iface R Rmem   User   Inode";
  const addresses = JSON.stringify([
    { ifindex: 2, ifname: "eth0", flags: [], mtu: 1_500, operstate: "UP", addr_info: [] },
  ]);
  const raw = (protocol: string, index: number) =>
    `${heading}\n/proc/net/packet: 000000009daa17f5 3      3    ${protocol}   ${index}     1 0      998    1158  `;
  test.each([
    ["0800", 2, ["packets of eth0"]],
    ["0003", 0, ["packets of every interface"]],
    ["88cc", 2, []], // LLDP, which networkd listens to
  ] as const)("protocol %s on interface %d: %p", (protocol, index, sockets) => {
    expect(seen({ addresses, raw: raw(protocol, index) }).dhcp.sockets).toEqual([...sockets]);
  });
});

test("the network is read from a whole probe as from its own", () => {
  const sections = { name: "/etc/hostname: a", hostkeys: "/etc/ssh/ssh_host_ed25519_key.pub: ssh-ed25519 AAAA root@a" };
  const found = seen(sections);
  expect(found).toMatchObject({ hostnameFile: "a", hostKeys: ["ssh-ed25519 AAAA"] });
  expect(parseNodeNetwork(printed(names, sections))).toEqual(found);
  expect(parseNode(printed(names, sections))).toMatchObject(found);
});

test("a probe that was cut off proves nothing, and one of the network is no whole one", () => {
  expect(() => parseNodeNetwork(new ProbeText("@@ addresses\n[]\n"))).toThrow("the probe of a node has no section end");
  expect(() => parseNode(printed(ofNetwork, {}))).toThrow("the probe of a node has no section");
});
