import { join } from "node:path";
import { notYet, until } from "../core/deadline.ts";
import { type Duration, minutes, seconds } from "../core/duration.ts";
import { projectRoot } from "../core/paths.ts";
import type { Access } from "../run/access.ts";
import { heldByAnother } from "../run/hold.ts";
import { forThisProcess } from "../run/users.ts";
import { run } from "../tools/exec.ts";
import type { Domain } from "../tools/libvirt.ts";
import { Terraform } from "../tools/terraform.ts";

export interface IdempotenceSeen {
  /** What Terraform would change of a cluster that was just made from the same variables: `update libvirt_domain.node["x"]`. */
  readonly changes: readonly string[];
  /** Every domain that libvirt knows, with its state: a plan says nothing about one that has crashed. */
  readonly domains: Readonly<Record<string, Pick<Domain, "state" | "reason">>>;
  /** A second `kpi up` of the same spec. */
  readonly up: { readonly code: number; readonly said: string; readonly elapsed: Duration };
}

/** Asks for the same cluster once more, of Terraform and then of kpi, whose time is judged: it waits until `others` are done as well. */
export async function seeIdempotence(
  access: Access,
  spec: string,
  others: () => Promise<void>,
): Promise<IdempotenceSeen> {
  const terraform = Terraform.reopen(join(access.cluster.dir, "terraform"));
  const [plan, domains] = await Promise.all([terraform.planAgain(), access.libvirt.domains()]);
  await others();
  const up = await until("another kpi has the cluster", minutes(2), async () => {
    const ran = await run(join(projectRoot, "kpi"), ["up", spec], {
      env: { NO_COLOR: "1", KPI_STATE: access.cluster.stateDir, ...forThisProcess() },
      timeout: seconds(100), // before it would replace a cluster that does not answer
      accept: [0, 1, 2],
    });
    return ran.code === 1 && ran.stderr.includes(heldByAnother) ? notYet(ran.stderr) : ran; // another suite asks as we do
  });
  return {
    changes: plan.changes.map(({ action, address }) => `${action} ${address}`),
    domains: Object.fromEntries(domains.map(({ name, state, reason }) => [name, { state, reason }])),
    up: { code: up.code, said: `${up.stdout}\n${up.stderr}`.trim(), elapsed: up.elapsed },
  };
}
