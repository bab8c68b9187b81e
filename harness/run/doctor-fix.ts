import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { minutes } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import type { OnProgress } from "../core/event.ts";
import { findProgram } from "../tools/environment.ts";
import { run } from "../tools/exec.ts";
import { thisOwner } from "../tools/owner.ts";
import type { Check } from "./doctor-check.ts";
import type { Facts } from "./doctor-facts.ts";
import { aptProgress, type Distribution, distribution, installable, installArguments } from "./doctor-packages.ts";

export interface FixOptions {
  readonly facts: Facts;
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
  /** What apt and the others say is appended to this file. */
  readonly log?: string;
}

/** What `applyFixes` would do, for people, one line each; said before it is done. */
export function describeFixes(checks: readonly Check[]): string[] {
  const packages = packagesOf(checks);
  const commands = commandsOf(checks).map(({ title, fix }) => `${title}: ${fix?.command ?? ""}`);
  return [...commands, ...(packages.length === 0 ? [] : [`install ${packages.join(" ")}`])];
}

/**
 * Does what may be done without asking: first each automatic command in the order of the checks, then one installation of
 * all packages. Throws a `supply` error when the package archive fails, a `command` error when anything else does.
 */
export async function applyFixes(checks: readonly Check[], options: FixOptions): Promise<void> {
  const { onProgress, signal, log } = options;
  const common = { ...(signal === undefined ? {} : { signal }), ...(log === undefined ? {} : { log }) };
  for (const { title, fix } of commandsOf(checks)) {
    onProgress?.({ what: title });
    await run("sh", ["-ec", fix?.command ?? ""], { ...common, timeout: minutes(10) });
  }
  const known = distribution(options.facts.os);
  const packages = packagesOf(checks);
  if (packages.length > 0 && known !== undefined) await install(known, packages, options);
}

const applicable = (checks: readonly Check[]) =>
  checks.filter(({ outcome, fix }) => outcome !== "ok" && fix?.automatic === true);
const commandsOf = (checks: readonly Check[]) => applicable(checks).filter(({ fix }) => fix?.packages === undefined);
const packagesOf = (checks: readonly Check[]) => [
  ...new Set(applicable(checks).flatMap(({ fix }) => fix?.packages ?? [])),
];

/** One run of apt for everything, so that it fetches, unpacks and configures once. */
async function install(known: Distribution, wanted: readonly string[], options: FixOptions): Promise<void> {
  const { onProgress, signal, log, facts } = options;
  const env = { DEBIAN_FRONTEND: "noninteractive", NEEDRESTART_MODE: "a" };
  // Not confined, and sparing: dpkg must never be killed half-way; when we die it comes to its own end.
  const apt = (args: readonly string[], onLine?: (line: string) => void) =>
    run("apt-get", args, {
      env,
      sparing: true,
      grace: minutes(2),
      timeout: minutes(30),
      ...(signal === undefined ? {} : { signal }),
      ...(log === undefined ? {} : { log }),
      ...(onLine === undefined ? {} : { onLine }),
    }).catch((error: unknown) => {
      if (!(error instanceof KpiError)) throw error;
      throw new KpiError("supply", `packages could not be installed: ${error.what}`, {
        details: error.details,
        evidence: error.evidence,
        hint: "the package archive fails, not the cluster: try again, or install them by hand",
        ...(error.command === undefined ? {} : { command: error.command }),
      });
    });

  onProgress?.({ what: "updating the package lists" });
  await apt(["update", "-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=300"]);
  const { stdout } = await run("apt-cache", ["policy", ...wanted], signal === undefined ? {} : { signal });
  const packages = installable(stdout, wanted);
  const daemonsAreNew = facts.tools["libvirtd"] === undefined;
  using _quiet = startNothing(facts);
  await apt(installArguments(known, packages), (line) => {
    const told = aptProgress(line);
    if (told !== undefined)
      onProgress?.({ what: told.what, done: Math.round(told.percent), total: 100, unit: "steps" });
  });
  if (facts.host.kind === "lab" && daemonsAreNew) await disableDaemons();
}

const policy = "/usr/sbin/policy-rc.d";
const ours = "# kpi: nothing starts while it installs packages; without effect once that process has ended";

/**
 * Debian starts a daemon as soon as it is installed unless this file says no. A lab runs its own; a hypervisor's libvirtd
 * may start. The file looks for this very process, so that one which is killed leaves nothing that has an effect.
 */
function startNothing({ host }: Facts): Disposable {
  const someoneElses = existsSync(policy) && !readFileSync(policy, "utf8").includes(ours);
  if (host.kind !== "lab" || someoneElses) return { [Symbol.dispose]: () => {} };
  const { pid, start } = thisOwner();
  const started = `$(sed 's/.*) //' /proc/${pid}/stat 2>/dev/null | cut -d' ' -f20)`;
  writeFileSync(policy, `#!/bin/sh\n${ours}\n[ "${started}" != ${start} ] || exit 101\n`);
  chmodSync(policy, 0o755);
  return { [Symbol.dispose]: () => rmSync(policy, { force: true }) };
}

const sockets = [
  "libvirtd",
  "libvirtd-ro",
  "libvirtd-admin",
  "virtlogd",
  "virtlogd-admin",
  "virtlockd",
  "virtlockd-admin",
];
const services = ["libvirtd", "libvirt-guests", "virtlogd"];

/** Nor at the next boot. They are the system's own instances; the lab's libvirtd needs none of them. */
async function disableDaemons(): Promise<void> {
  if (findProgram("systemctl") === undefined) return;
  const units = [...services.map((name) => `${name}.service`), ...sockets.map((name) => `${name}.socket`)];
  // One by one: which of them exist differs by release, and one that does not must not keep the others.
  for (const unit of units) {
    await run("systemctl", ["disable", "--quiet", unit], { accept: [0, 1, 5], timeout: minutes(1) });
  }
}
