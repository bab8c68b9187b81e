import { createReadStream, createWriteStream } from "node:fs";
import { open } from "node:fs/promises";
import { PassThrough } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createInflateRaw } from "node:zlib";
import { KpiError } from "../core/errors.ts";

interface Entry {
  readonly name: string;
  readonly method: number;
  readonly packed: number;
  readonly size: number;
  readonly offset: number;
  readonly mode: number;
}

const endSignature = 0x06054b50;
const directorySignature = 0x02014b50;
const localSignature = 0x04034b50;
const executable = 0o111;

/**
 * Unpacks one member of a zip archive to `target`, keeping whether it is executable. What release archives need and no
 * more: stored or deflated, below 4 GB. The archive's own hash has been checked before, so CRCs are not.
 */
export async function unzip(archive: string, member: string, target: string): Promise<void> {
  const entries = await readDirectory(archive);
  const entry = entries.find(({ name }) => name === member);
  if (entry === undefined) {
    throw new KpiError("contract", `${archive} has no member ${member}`, {
      got: entries.map(({ name }) => name).join(", "),
    });
  }
  if (entry.method !== 0 && entry.method !== 8) throw broken(archive, `packs ${member} by method ${entry.method}`);
  const start = await dataOffset(archive, entry);
  const source = createReadStream(archive, { start, end: start + entry.packed - 1 });
  const unpack = entry.method === 8 ? createInflateRaw() : new PassThrough();
  const mode = (entry.mode & executable) === 0 ? 0o644 : 0o755;
  await pipeline(source, unpack, createWriteStream(target, { mode }));
  const { size } = Bun.file(target);
  if (size !== entry.size) throw broken(archive, `gives ${size} bytes for ${member}, not ${entry.size}`);
}

/** The central directory (APPNOTE 4.3.12), found from the end of the file (4.3.16). */
async function readDirectory(archive: string): Promise<Entry[]> {
  const total = Bun.file(archive).size;
  const tail = await readAt(archive, Math.max(0, total - 65_557), Math.min(total, 65_557));
  let end = tail.length - 22;
  while (end >= 0 && tail.readUInt32LE(end) !== endSignature) end -= 1;
  if (end < 0) throw broken(archive, "has no directory");
  const directory = await readAt(archive, tail.readUInt32LE(end + 16), tail.readUInt32LE(end + 12));
  const entries: Entry[] = [];
  for (let at = 0; at + 46 <= directory.length && directory.readUInt32LE(at) === directorySignature;) {
    const nameLength = directory.readUInt16LE(at + 28);
    entries.push({
      name: directory.toString("utf8", at + 46, at + 46 + nameLength),
      method: directory.readUInt16LE(at + 10),
      packed: directory.readUInt32LE(at + 20),
      size: directory.readUInt32LE(at + 24),
      mode: directory.readUInt32LE(at + 38) >>> 16,
      offset: directory.readUInt32LE(at + 42),
    });
    at += 46 + nameLength + directory.readUInt16LE(at + 30) + directory.readUInt16LE(at + 32);
  }
  return entries;
}

/** The local header repeats name and extra field, with lengths of its own (4.3.7). */
async function dataOffset(archive: string, { offset, name }: Entry): Promise<number> {
  const header = await readAt(archive, offset, 30);
  if (header.length < 30 || header.readUInt32LE(0) !== localSignature) throw broken(archive, `has no ${name} inside`);
  return offset + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
}

async function readAt(path: string, offset: number, length: number): Promise<Buffer> {
  const file = await open(path);
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, offset);
    return buffer.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

const broken = (archive: string, what: string) =>
  new KpiError("contract", `${archive} is no zip archive that can be read: it ${what}`);
