import type { OsFacts } from "./doctor-facts.ts";

/** A distribution whose packages kpi knows by name. */
export interface Distribution {
  readonly codename: string;
  /** Suite that must be added, because the release itself is too old. */
  readonly backports?: string;
}

/** Debian from 12 and Ubuntu from 24.04, and what calls itself like them; undefined for all others. */
export function distribution(os: OsFacts): Distribution | undefined {
  if (os.id === "debian" && os.version === "12")
    return { codename: os.codename, backports: `${os.codename}-backports` };
  const apt = [os.id, ...os.like].some((name) => name === "debian" || name === "ubuntu");
  return apt ? { codename: os.codename } : undefined;
}

/** Never asks, never replaces a configuration file that someone changed, waits for another apt, tries a broken download again. */
const aptOptions = ["-y", "--no-install-recommends", "-o", "Dpkg::Options::=--force-confold"] as const;

/** The command that a person would type. */
export function installCommand(known: Distribution, packages: readonly string[]): string {
  return ["apt-get install", "-y", "--no-install-recommends", ...target(known), ...packages].join(" ");
}

/** Arguments of apt-get for the same. */
export function installArguments(known: Distribution, packages: readonly string[]): string[] {
  const patient = ["-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3", "-o", "APT::Status-Fd=1"];
  return ["install", ...aptOptions, ...patient, ...target(known), ...packages];
}

const target = ({ backports }: Distribution) => (backports === undefined ? [] : ["-t", backports]);

/** Text of an apt source (deb822) for a suite of the archive that this machine uses anyway. */
export function sourceText(archive: string, suite: string): string {
  const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
  const lines = [`Types: deb`, `URIs: ${archive}`, `Suites: ${suite}`, `Components: main`, `Signed-By: ${keyring}`];
  return `${lines.join("\n")}\n`;
}

/** Of these packages, those that apt can install, from the output of `apt-cache policy PACKAGES`. */
export function installable(policy: string, packages: readonly string[]): string[] {
  const known = new Set<string>();
  let current = "";
  for (const line of policy.split("\n")) {
    const name = /^(\S+):$/.exec(line)?.[1];
    if (name !== undefined) current = name;
    const candidate = /^ {2}Candidate: (.+)$/.exec(line)?.[1];
    if (candidate !== undefined && candidate !== "(none)") known.add(current);
  }
  return packages.filter((name) => known.has(name));
}

/** A line of APT::Status-Fd as progress: percent of the download, then of the installation; undefined for other lines. */
export function aptProgress(line: string): { readonly what: string; readonly percent: number } | undefined {
  const [, kind, subject, percent, text] = /^(dlstatus|pmstatus):([^:]*):([\d.]+):(.*)$/.exec(line) ?? [];
  if (kind === undefined) return undefined;
  const what = kind === "dlstatus" ? `fetching packages: ${text}` : (text ?? subject ?? "");
  return { what, percent: Number(percent) };
}
