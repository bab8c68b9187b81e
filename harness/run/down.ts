import { join } from "node:path";
import { KpiError, renderError } from "../core/errors.ts";
import type { Host } from "../core/plan.ts";
import { destroyLab, openLab } from "../lab/lab.ts";
import { labUri } from "../lab/launch.ts";
import { labLayout } from "../lab/layout.ts";
import { Terraform } from "../tools/terraform.ts";
import type { ClusterDir } from "./cluster.ts";
import type { Declared } from "./journal.ts";

export interface UnmakeOptions {
  /** Run `terraform destroy` in a lab as well, which goes as a whole in any case: slower, but it is what users do by hand. */
  readonly orderly?: boolean;
  readonly say?: (line: string) => void;
}

/**
 * Removes everything of a cluster, whatever state it is in. On a host's own libvirt `terraform destroy` does it, and its
 * failure is thrown; a lab goes as a whole, so nothing can be left there. The image and the runs stay.
 */
export async function unmakeCluster(
  cluster: ClusterDir,
  host: Host,
  { orderly = false, say = () => {} }: UnmakeOptions = {},
): Promise<void> {
  const lab = host.kind === "lab" ? await openLab(cluster.labDir) : undefined;
  const reachable = host.kind === "libvirt" || (orderly && lab !== undefined && !isFork(cluster));
  const terraform = join(cluster.dir, "terraform");
  if (reachable && Terraform.hasState(terraform)) {
    try {
      await Terraform.reopen(terraform).destroy();
      say("terraform destroyed domains, disks and seeds");
    } catch (error) {
      if (host.kind === "libvirt") throw error;
      say(`terraform destroy failed, the lab goes with all that is in it: ${renderError(error).split("\n")[0]}`);
    }
  }
  if (host.kind === "lab") {
    await destroyLab(cluster.labDir);
    say("lab removed");
  }
  cluster.remove();
}

/**
 * Unmakes what was being made when `error` ended that, and settles what was declared of it. Where that fails as well it stays declared, so
 * that the next command tries again. Returns the error, which says so: the first cause is the one that counts.
 */
export async function unmakeAfter(error: unknown, cluster: ClusterDir, begun: Declared): Promise<unknown> {
  const more: string[] = [];
  try {
    await unmakeCluster(
      cluster,
      hostOf(cluster, (line) => more.push(line)),
    );
    begun.settle();
  } catch (second) {
    const why = second instanceof Error ? second.message : String(second);
    more.push(`the clean-up failed as well: ${why}; kpi reap tries again`);
  }
  return more.length > 0 && error instanceof KpiError ? error.with({ details: more }) : error;
}

/** Where a cluster runs. Of one whose state cannot be read Terraform knows it: its domains must not stay behind. `say` hears the reason. */
export function hostOf(cluster: ClusterDir, say: (line: string) => void): Host {
  try {
    return cluster.read()?.plan.host ?? { kind: "lab" };
  } catch (error) {
    if (!(error instanceof KpiError)) throw error;
    say(renderError(error));
    const uri = Terraform.libvirtUri(join(cluster.dir, "terraform"));
    const ofLab = uri === undefined || uri === labUri(labLayout(cluster.labDir));
    return ofLab ? { kind: "lab" } : { kind: "libvirt", uri };
  }
}

/** A fork's pool also holds what was frozen, which Terraform knows nothing of. */
function isFork(cluster: ClusterDir): boolean {
  try {
    return cluster.read()?.origin !== undefined;
  } catch {
    return false; // its state is damaged, and it is removed for that
  }
}
