import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type NodeNetworkSeen, parseNodeNetwork } from "./node-network-seen.ts";
import { parseNode } from "./node-seen.ts";
import { ProbeText } from "./probe-text.ts";

const probe = readFileSync(join(import.meta.dir, "..", "tools", "probe.sh"), "utf8");
const names = [...probe.matchAll(/^ *(?:section|@@) (\w+)/gm)].map(([, name]) => name ?? "");
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
  const links = JSON.stringify([{ ifindex: 2, ifname: "eth0", flags: [], mtu: 1_500, operstate: "UP", addr_info: [] }]);
  const raw = (protocol: string, index: number) =>
    `${heading}\n/proc/net/packet: 000000009daa17f5 3      3    ${protocol}   ${index}     1 0      998    1158  `;
  test.each([
    ["0800", 2, ["packets of eth0"]],
    ["0003", 0, ["packets of every interface"]],
    ["88cc", 2, []], // LLDP, which networkd listens to
  ] as const)("protocol %s on interface %d: %p", (protocol, index, sockets) => {
    expect(seen({ links, raw: raw(protocol, index) }).dhcp.sockets).toEqual([...sockets]);
  });
});

test("sockets are those that listen, by protocol", () => {
  // What the kernel of a node printed; ss said of the same: udp 0.0.0.0:8472, tcp 127.0.0.53%lo:53, tcp 127.0.0.1:35065, tcp [::]:22.
  const sockets = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   2: 3500007F:0035 00000000:0000 0A 00000000:00000000 00:00000000 00000000   991        0 896 1 00000000ae8a30a4 100 0 0 10 5
   3: 0100007F:88F9 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1615 2 00000000563a7b97 100 0 0 10 0
   5: 0B7AA8C0:0016 017AA8C0:A2C4 01 00000000:00000000 02:000AFC3E 00000000     0        0 4329 3 00000000f6d2803a 20 4 10 10 -1
  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:0016 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1405 1 0
   1: 000080FE000000003CE81254D68DFEFF:0222 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1405 1 0
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  136: 00000000:2118 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 2023 2 00000000e59a3e80 0
   sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
    1: 000080FE000000003CE81254D68DFEFF:0222 00000000000000000000000000000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 1405 1 0 0`;
  const { listening, dhcp } = seen({ sockets });
  const dhcpv6 = "udp [fe80::5412:e83c:fffe:8dd6]:546";
  expect(listening).toEqual(["tcp 127.0.0.1:35065", "tcp 127.0.0.53:53", "tcp [::]:22", "udp 0.0.0.0:8472", dhcpv6]);
  expect(dhcp.sockets).toEqual([dhcpv6]);
});

test("the network is read from a whole probe as from its own", () => {
  const sections = { name: "/etc/hostname: a", hostkeys: "/etc/ssh/ssh_host_ed25519_key.pub: ssh-ed25519 AAAA root@a" };
  const found = seen(sections);
  expect(found).toMatchObject({ hostnameFile: "a", hostKeys: ["ssh-ed25519 AAAA"] });
  expect(parseNodeNetwork(printed(names, sections))).toEqual(found);
  expect(parseNode(printed(names, sections))).toMatchObject(found);
});

test("a probe that was cut off proves nothing, and one of the network is no whole one", () => {
  expect(() => parseNodeNetwork(new ProbeText("@@ links\n[]\n[]\n"))).toThrow("the probe of a node has no section end");
  expect(() => parseNode(printed(ofNetwork, {}))).toThrow("the probe of a node has no section");
});
