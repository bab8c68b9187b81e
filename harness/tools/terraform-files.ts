import { existsSync } from "node:fs";
import { cp, mkdir, readdir, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { readWhole, writeWhole } from "./whole-file.ts";

/** The values of variables.tf. They hold secrets. */
export type Variables = Readonly<Record<string, unknown>>;

const modules = ["cloud-init"];

/** Where the copied configuration of a cluster is. */
export const configurationOf = (dir: string) => join(dir, "config", "terraform-libvirt");

/**
 * The configuration is copied for each cluster: Terraform writes its lock file beside it, two clusters would share that,
 * and `destroy` must see what `apply` saw even when the checkout has moved on.
 */
export async function copyConfiguration(source: string, root: string): Promise<void> {
  const isPart = (name: string) => /\.(tf|tftpl|sh)$/.test(name);
  const pairs = [source, ...modules.map((name) => join(dirname(source), name))].map((from, index) => ({
    from,
    to: index === 0 ? root : join(dirname(root), basename(from)),
  }));
  for (const { from, to } of pairs) {
    if (!existsSync(from)) continue;
    await mkdir(to, { recursive: true, mode: 0o700 });
    const [old, fresh] = [await readdir(to), await readdir(from)];
    await Promise.all(old.filter(isPart).map((name) => rm(join(to, name))));
    await Promise.all(fresh.filter(isPart).map((name) => cp(join(from, name), join(to, name))));
  }
}

/** The variables of the last plan or apply; none when there was none. */
export const readVariables = (root: string): Variables => readWhole<Variables>(variablesPath(root)) ?? {};

/** Writes the variables of the next plan or apply. */
export const writeVariables = (root: string, variables: Variables): void =>
  writeWhole(variablesPath(root), `${JSON.stringify(variables, undefined, 2)}\n`);

export const variablesPath = (root: string) => join(root, "terraform.tfvars.json");

/** What must not appear in any output: Terraform hides it by itself, and this is the second lock on the door. */
export function secretsOf({
  token,
  host_keys: hostKeys = {},
}: Variables & { token?: unknown; host_keys?: unknown }): string[] {
  const keys = Object.values(hostKeys as Record<string, { private?: string }>).map((key) => key.private ?? "");
  const lines = keys.flatMap((key) => key.split("\n").filter((line) => line.length >= 32 && !line.startsWith("---")));
  return [...(typeof token === "string" ? [token] : []), ...lines];
}
