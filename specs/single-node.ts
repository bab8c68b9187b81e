import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "../harness/kit.ts";

/** Writes the spec of a cluster that is the server of specs/lab.yaml alone, and gives its path: a third of the time that three nodes take. */
export function singleNodeSpec(dir: string, name: string): string {
  const path = join(dir, "single.yaml");
  const lab = join(projectRoot, "specs", "lab.yaml");
  writeFileSync(path, `extends: ${lab}\nname: ${name}\nnodes: { k3s-worker-01: null, k3s-worker-02: null }\n`);
  return path;
}
