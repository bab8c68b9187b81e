import { generateKeyPairSync, randomBytes } from "node:crypto";
import { KpiError } from "../core/errors.ts";

/** An ed25519 key pair as OpenSSH and cloud-init's `ssh_keys` read it. */
export interface SshKey {
  /** OpenSSH private format with a trailing newline; secret, for files of mode 0600 only. */
  readonly privateKey: string;
  /** One line, `ssh-ed25519 BASE64 comment`, without newline. */
  readonly publicKey: string;
}

/**
 * Makes a new pair, for a user or for a host. Written out here because ssh2's own generator goes through ASN.1 for what
 * is 64 raw bytes, and node:crypto cannot export the OpenSSH format (PROTOCOL.key in OpenSSH's source).
 */
export function generateSshKey(comment: string): SshKey {
  if (/[\n\r\0]/.test(comment)) throw new KpiError("contract", "an ssh key's comment must be one line");
  const jwk = generateKeyPairSync("ed25519").privateKey.export({ format: "jwk" });
  const seed = Buffer.from(String(jwk.d), "base64url");
  const point = Buffer.from(String(jwk.x), "base64url");
  const blob = Buffer.concat([field("ssh-ed25519"), field(point)]);
  const check = randomBytes(4);
  const secret = padded(
    Buffer.concat([check, check, blob, field(Buffer.concat([seed, point])), field(Buffer.from(comment, "utf8"))]),
  );
  const noCipher = [field("none"), field("none"), field("")];
  const file = Buffer.concat([Buffer.from("openssh-key-v1\0"), ...noCipher, uint32(1), field(blob), field(secret)]);
  const body = file.toString("base64").match(/.{1,70}/g) ?? [];
  return {
    privateKey: ["-----BEGIN OPENSSH PRIVATE KEY-----", ...body, "-----END OPENSSH PRIVATE KEY-----", ""].join("\n"),
    publicKey: `ssh-ed25519 ${blob.toString("base64")} ${comment}`.trimEnd(),
  };
}

/** The algorithm and key of a public key line (`TYPE BASE64 [comment]`) or of its base64 alone. */
export function parsePublicKey(text: string): { readonly type: string; readonly base64: string } {
  const words = text.trim().split(/\s+/);
  const base64 = words.find((word) => word.startsWith("AAAA"));
  if (base64 === undefined) throw new KpiError("contract", "this is no ssh public key", { got: text.slice(0, 40) });
  const blob = Buffer.from(base64, "base64");
  return { type: blob.subarray(4, 4 + blob.readUInt32BE(0)).toString("latin1"), base64 };
}

const uint32 = (value: number): Buffer => {
  const out = Buffer.alloc(4);
  out.writeUInt32BE(value);
  return out;
};

function field(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  return Buffer.concat([uint32(bytes.length), bytes]);
}

/** Bytes 1, 2, 3, ... up to the block size of 8, as the format wants even without a cipher. */
function padded(bytes: Buffer): Buffer {
  const missing = (8 - (bytes.length % 8)) % 8;
  return Buffer.concat([bytes, Buffer.from(Array.from({ length: missing }, (_, index) => index + 1))]);
}
