/** The k3s program on a node. The stamp changes whenever the file does. */
export interface BinarySeen {
  readonly stamp: string;
  readonly sha256: string;
  readonly version: string;
}

/**
 * Reads what k3s-binary.sh printed; undefined where no k3s is installed. `known` is what an earlier look saw, which k3s-binary.sh
 * then does not hash again. Pure.
 */
export function parseBinary(text: string, known: BinarySeen | undefined): BinarySeen | undefined {
  const lines = text.split("\n");
  const stamp = lines.find((line) => line.startsWith("stamp "))?.slice(6);
  if (stamp === undefined) return undefined;
  if (stamp === known?.stamp) return known;
  const sha256 = lines.find((line) => /^[0-9a-f]{64} /.test(line))?.slice(0, 64) ?? "";
  const version = lines.find((line) => line.startsWith("k3s version "))?.split(" ")[2] ?? "";
  return { stamp, sha256, version };
}
