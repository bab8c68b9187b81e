import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "./exec.ts";

/** A certificate that nobody vouches for, and its key, in PEM. */
export interface Certificate {
  readonly cert: string;
  readonly key: string;
}

/** A new self-signed certificate for one day: for knocking at doors that must stay shut. */
export async function foreignCertificate(commonName: string): Promise<Certificate> {
  const dir = mkdtempSync(join(tmpdir(), "kpi-certificate-"));
  try {
    const [cert, key] = [join(dir, "cert.pem"), join(dir, "key.pem")];
    const kind = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"];
    await run("openssl", ["req", ...kind, "-subj", `/O=system:masters/CN=${commonName}`, "-keyout", key, "-out", cert]);
    return { cert: readFileSync(cert, "utf8"), key: readFileSync(key, "utf8") };
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
