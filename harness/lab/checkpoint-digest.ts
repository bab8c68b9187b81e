import { createHash } from "node:crypto";
import { type FileHandle, open } from "node:fs/promises";

/** What a file's digest is computed over at a time; a multiple of every page and block size. */
const chunk = 4 * 1024 * 1024;
/** Reads in flight: the kernel copies while we hash. */
const readers = 3;

/**
 * What a file holds, as `xxh3:<size>:<64 hexadecimal digits>`: xxHash3 of each chunk of 4 MiB that is not all zero, with its number,
 * folded by SHA-256. It is made to find damage, at the speed of memory (SHA-256 of the same bytes takes ten times
 * longer); it is no defence against somebody who may write here, for whom the directory's mode is. Zeros are left
 * out, so that a sparse file and its copy without holes are the same, and so that holes cost one comparison.
 */
export async function digestFile(path: string, signal?: AbortSignal): Promise<string> {
  const file = await open(path, "r");
  try {
    const { size } = await file.stat();
    const count = Math.ceil(size / chunk);
    const hashes: string[] = Array.from({ length: count }, () => "");
    let next = 0;
    const reader = async () => {
      const buffer = Buffer.allocUnsafeSlow(chunk);
      for (let index = next++; index < count; index = next++) {
        signal?.throwIfAborted();
        const bytes = buffer.subarray(0, await readFully(file, buffer, index * chunk));
        if (!isZero(bytes)) hashes[index] = `${index}:${Bun.hash.xxHash3(bytes).toString(16)}`;
      }
    };
    await Promise.all(Array.from({ length: readers }, reader));
    const fold = createHash("sha256").update(hashes.filter((hash) => hash !== "").join("\n"));
    return `xxh3:${size}:${fold.digest("hex")}`;
  } finally {
    await file.close();
  }
}

async function readFully(file: FileHandle, buffer: Buffer, from: number): Promise<number> {
  let filled = 0;
  while (filled < buffer.length) {
    const { bytesRead } = await file.read(buffer, filled, buffer.length - filled, from + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return filled;
}

const zeros = Buffer.alloc(chunk);

/** `equals` is memcmp: it ends at the first byte that differs, which is nearly always among the first. */
const isZero = (bytes: Buffer): boolean => bytes.equals(zeros.subarray(0, bytes.length));
