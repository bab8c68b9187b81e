/** The k3s program on a node. */
export interface BinarySeen {
  /** The file's, as FileSeen has it. */
  readonly stamp: string;
  readonly sha256: string;
  readonly version: string;
}

/** Reads what k3s-binary.sh printed of the file with this stamp. Pure. */
export function parseBinary(text: string, stamp: string): BinarySeen {
  const lines = text.split("\n");
  const sha256 = lines.find((line) => /^[0-9a-f]{64} /.test(line))?.slice(0, 64) ?? "";
  const version = lines.find((line) => line.startsWith("k3s version "))?.split(" ")[2] ?? "";
  return { stamp, sha256, version };
}
