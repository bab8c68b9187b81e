import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import type { Plan } from "../core/plan.ts";
import { generateSshKey, type SshKey } from "../tools/ssh-key.ts";
import { writeWhole } from "../tools/whole-file.ts";
import type { ClusterDir } from "./cluster.ts";

/** What a cluster's members prove themselves with; made per cluster, kept in files for the owner only, never printed. */
export interface Secrets {
  /** Pre-shared join token: letters and digits only, as k3s wants it. */
  readonly token: string;
  /** The operator's key. */
  readonly user: SshKey;
  /** A host key a node, made here so that the very first connection can be verified. */
  readonly hosts: Readonly<Record<string, SshKey>>;
}

/** The cluster's secrets: those on disk, or new ones. */
export function clusterSecrets(cluster: ClusterDir, plan: Plan): Secrets {
  const token = cluster.path("secrets", "token");
  if (!existsSync(token)) writeWhole(token, randomBytes(24).toString("hex"));
  const key = (name: string, comment: string): SshKey => {
    const path = cluster.path("secrets", name);
    if (!existsSync(path) || !existsSync(`${path}.pub`)) {
      const made = generateSshKey(comment);
      writeWhole(path, made.privateKey);
      writeWhole(`${path}.pub`, `${made.publicKey}\n`);
    }
    return { privateKey: readFileSync(path, "utf8"), publicKey: readFileSync(`${path}.pub`, "utf8").trim() };
  };
  return {
    token: readFileSync(token, "utf8"),
    user: key("id_ed25519", `kpi-${plan.cluster}`),
    hosts: Object.fromEntries(plan.nodes.map(({ name }) => [name, key(`host-${name}`, name)])),
  };
}
