import { readFileSync } from "node:fs";
import { join } from "node:path";
import { minutes } from "../core/duration.ts";
import type { NodeConnection } from "../tools/ssh.ts";
import { readSound, writeWhole } from "../tools/whole-file.ts";
import type { ClusterDir } from "./cluster.ts";

/** The k3s program on a node. */
export interface BinarySeen {
  /** Inode and last change of the file. */
  readonly stamp: string;
  readonly sha256: string;
  readonly version: string;
}

const script = join(import.meta.dir, "..", "tools", "k3s-binary.sh");

/** What was last seen of the k3s on a node, whichever file it was then; undefined when nobody has looked. */
export function knownBinary(cluster: ClusterDir, node: string): BinarySeen | undefined {
  return readSound(keptAt(cluster, node));
}

/** Looks at the k3s on a node, which takes an emulated one seconds, and keeps what was seen with the cluster. */
export async function seeBinary(
  cluster: ClusterDir,
  node: string,
  connection: NodeConnection,
  signal?: AbortSignal,
): Promise<BinarySeen> {
  const limits = { timeout: minutes(2), ...(signal === undefined ? {} : { signal }) };
  const { stdout } = await connection.exec("sudo -n sh -s", { input: readFileSync(script, "utf8"), ...limits });
  const seen = parseBinary(stdout);
  writeWhole(keptAt(cluster, node), JSON.stringify(seen));
  return seen;
}

/** Reads what k3s-binary.sh printed; what it did not is empty. Pure. */
export function parseBinary(text: string): BinarySeen {
  const lines = text.split("\n");
  const stamp = lines.find((line) => line.startsWith("stamp "))?.slice("stamp ".length) ?? "";
  const sha256 = lines.find((line) => /^[0-9a-f]{64} /.test(line))?.slice(0, 64) ?? "";
  const version = lines.find((line) => line.startsWith("k3s version "))?.split(" ")[2] ?? "";
  return { stamp, sha256, version };
}

const keptAt = (cluster: ClusterDir, node: string) => cluster.path("binaries", `${node}.json`);
