import { dlopen, ptr } from "bun:ffi";
import { writeSync } from "node:fs";
import { type Frame, parseFrame } from "./frame.ts";

/*
 * Run inside a lab: prints what its guests say to each other, one JSON line for each flow that is new. "listening" comes
 * first. It runs until it is killed. A packet socket of our own (packet(7)), because a bare machine has no tcpdump.
 */
const afPacket = 17;
const sockRaw = 3;
/** ETH_P_ALL in network byte order. */
const everything = 0x0300;

const libc = dlopen("libc.so.6", {
  socket: { args: ["int", "int", "int"], returns: "int" },
  recv: { args: ["int", "ptr", "u64", "int"], returns: "i64" },
});

const socket = libc.symbols.socket(afPacket, sockRaw, everything);
if (socket < 0) {
  writeSync(2, "capture: no packet socket: needs root\n");
  process.exit(1);
}
const buffer = Buffer.alloc(65_536);
const address = ptr(buffer);
const known = new Set<string>();
writeSync(1, `${JSON.stringify({ listening: true })}\n`);
for (;;) {
  const length = Number(libc.symbols.recv(socket, address, BigInt(buffer.length), 0));
  if (length <= 0) continue; // interrupted, or a device went
  const frame: Frame | undefined = parseFrame(buffer.subarray(0, length));
  if (frame === undefined) continue;
  const line = JSON.stringify(frame);
  if (known.has(line)) continue;
  known.add(line);
  writeSync(1, `${line}\n`);
}
