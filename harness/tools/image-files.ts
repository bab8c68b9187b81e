import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { run } from "./exec.ts";

/** A file or directory in an image. Bytes; `mode` is octal with the type, as `100644`. */
export interface ImageFile {
  readonly name: string;
  readonly mode: string;
  readonly size: number;
}

/**
 * What is in these directories of an image's root file system, without booting or mounting it; undefined for a directory that is not there.
 * The image is unpacked in `dir`, which is made for that and removed: some gigabytes, for which a /tmp in memory is too small.
 */
export async function listImageFiles(
  image: string,
  directories: readonly string[],
  dir: string,
): Promise<Readonly<Record<string, readonly ImageFile[] | undefined>>> {
  mkdirSync(dir, { mode: 0o700 });
  try {
    const raw = join(dir, "raw");
    const limits = { timeout: seconds(120) };
    await run("qemu-img", ["convert", "-O", "raw", image, raw], limits);
    const table = JSON.parse((await run("sfdisk", ["--json", raw], limits)).stdout) as PartitionTable;
    const start = table.partitiontable.partitions[0]?.start;
    if (start === undefined) throw new KpiError("contract", "the image has no partition", { got: image });
    await Bun.write(join(dir, "requests"), directories.map((path) => `ls -p ${path}\n`).join(""));
    const { stdout } = await run("debugfs", ["-f", join(dir, "requests"), `${raw}?offset=${start * 512}`], limits);
    return parseListings(stdout, directories);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

interface PartitionTable {
  readonly partitiontable: { readonly partitions: readonly { readonly start: number }[] };
}

/** Reads what debugfs says to `ls -p`: lines `/INODE/MODE/UID/GID/NAME/SIZE/` after each repeated request. */
export function parseListings(
  text: string,
  directories: readonly string[],
): Readonly<Record<string, readonly ImageFile[] | undefined>> {
  const parts = text.split(/^debugfs: ls -p (.*)$/m).slice(1);
  const found = new Map(
    Array.from({ length: parts.length / 2 }, (_, at) => [parts[2 * at]?.trim(), parts[2 * at + 1] ?? ""]),
  );
  return Object.fromEntries(
    directories.map((path) => {
      const part = found.get(path);
      if (part === undefined) throw new KpiError("contract", `debugfs said nothing about ${path}`);
      const files = part.split("\n").flatMap((line) => {
        const [, , mode = "", , , name = "", size = ""] = line.split("/");
        return mode === "" || name === "." || name === ".."
          ? []
          : [{ name, mode: mode.replace(/^0/, ""), size: Number(size) }];
      });
      return [path, part.includes("not found") || part.includes("not a directory") ? undefined : files];
    }),
  );
}
