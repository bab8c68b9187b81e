import { expect, test } from "bun:test";
import { parseFrame } from "./frame.ts";

/** An IPv4 packet in an Ethernet frame: addresses, protocol, payload. */
function frame(source: number[], target: number[], protocol: number, payload: Buffer): Buffer {
  const ethernet = Buffer.from([0x52, 0x54, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1, 0x08, 0x00]);
  const ip = Buffer.from([0x45, 0, 0, 0, 0, 0, 0, 0, 64, protocol, 0, 0, ...source, ...target]);
  return Buffer.concat([ethernet, ip, payload]);
}
const udp = (port: number, payload: Buffer) =>
  Buffer.concat([Buffer.from([0xc0, 0, port >> 8, port & 255, 0, 0, 0, 0]), payload]);
const ping = frame([10, 42, 1, 3], [10, 42, 2, 4], 1, Buffer.alloc(8));
const header = Buffer.from([0x08, 0, 0, 0, 0, 0, 1, 0]);

test("a ping in VXLAN: who carries it, and whose it is", () => {
  const carried = frame([192, 168, 122, 11], [192, 168, 122, 12], 17, udp(8472, Buffer.concat([header, ping])));
  expect(parseFrame(carried)).toMatchObject({
    from: "52:54:00:00:00:01",
    source: "192.168.122.11",
    target: "192.168.122.12",
    protocol: "udp",
    port: 8472,
    vxlan: { vni: 1, inner: { source: "10.42.1.3", target: "10.42.2.4", protocol: "icmp" } },
  });
});

test("bare packets, other ports, ARP and torn frames", () => {
  expect(parseFrame(ping)).toMatchObject({ source: "10.42.1.3", protocol: "icmp" });
  expect(parseFrame(frame([1, 1, 1, 1], [2, 2, 2, 2], 17, udp(53, Buffer.alloc(20))))?.vxlan).toBeUndefined();
  const arp = Buffer.from(ping);
  arp[13] = 0x06;
  expect(parseFrame(arp)).toBeUndefined();
  expect(parseFrame(ping.subarray(0, 20))).toBeUndefined();
});
