/** What a user may do about a check, as text that is exactly what `--fix` runs. */
export interface Fix {
  /** For a POSIX shell. */
  readonly command: string;
  /** Whether `--fix` may do it by itself. */
  readonly automatic: boolean;
  /** Distribution packages: `--fix` installs those of all checks in one go instead of running `command`. */
  readonly packages?: readonly string[];
}

/** One thing that a host must have, compared with what was found. */
export interface Check {
  readonly id: string;
  readonly title: string;
  readonly outcome: "ok" | "missing" | "wrong";
  /** What was found, with the version where there is one. */
  readonly seen: string;
  /** What it is needed for. */
  readonly why: string;
  /** Whether nothing works without it; otherwise it is only slower, or comes from elsewhere. */
  readonly needed: boolean;
  readonly fix?: Fix;
}

/** What stands in the way of a cluster. */
export const blocking = (checks: readonly Check[]): Check[] =>
  checks.filter(({ outcome, needed }) => needed && outcome !== "ok");

/** One line a check, its reason and its fix below it when it is not ok; a summary at the end. */
export function renderDoctor(checks: readonly Check[]): string {
  const width = Math.max(0, ...checks.map(({ title }) => title.length));
  const lines = checks.flatMap(({ outcome, needed, title, seen, why, fix }) => {
    const line = `${outcome.padEnd(7)}  ${title.padEnd(width)}  ${seen}`.trimEnd();
    if (outcome === "ok") return [line];
    const reason = `${" ".repeat(9)}${needed ? "" : "not needed here, but: "}${why}`;
    return [line, reason, ...(fix === undefined ? [] : [`${" ".repeat(9)}fix: ${fix.command}`])];
  });
  return `${[...lines, summary(checks)].join("\n")}\n`;
}

function summary(checks: readonly Check[]): string {
  const bad = blocking(checks);
  if (bad.length === 0) return "this machine can run a cluster";
  const automatic = bad.filter(({ fix }) => fix?.automatic === true).length;
  const fixable = automatic === bad.length ? "all" : automatic === 0 ? "none" : String(automatic);
  const plural = bad.length === 1 ? "1 thing stands" : `${bad.length} things stand`;
  return `${plural} in the way; kpi doctor --fix can mend ${fixable} of ${bad.length === 1 ? "it" : "them"}`;
}
