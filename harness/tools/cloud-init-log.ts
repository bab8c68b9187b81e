/** A piece of cloud-init's work by the guest's clock, in milliseconds since 1970. */
export interface CloudInitSpan {
  /** `init-network/activate-datasource`, or `stage init-local` for a whole stage. */
  readonly name: string;
  readonly from: number;
  readonly to: number;
}

const report = /^(\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d),(\d{3}) - handlers\.py\[\w+\]: (start|finish): ([\w/.-]+): /;

/** Reads the `start:` and `finish:` lines of /var/log/cloud-init.log, whose stamps are UTC on our guests. Asking `cloud-init analyze` would cost seconds of an emulated CPU. */
export function cloudInitSpans(log: string): CloudInitSpan[] {
  const open = new Map<string, number>();
  return log.split("\n").flatMap((line) => {
    const [, day, time, fraction, kind, name = ""] = report.exec(line) ?? [];
    if (day === undefined) return [];
    const at = Date.parse(`${day}T${time}.${fraction}Z`);
    const from = open.get(name);
    if (kind === "start") open.set(name, at);
    else open.delete(name);
    return kind === "finish" && from !== undefined ? [{ name, from, to: at }] : [];
  });
}

/**
 * Reads the stages of /run/cloud-init/status.json. Their times are seconds since 1970, or since boot where cloud-init started before the
 * clock was known; `bootedAt` is the instant of the boot by the guest's clock, in milliseconds since 1970.
 */
export function cloudInitStages(status: string, bootedAt: number): CloudInitSpan[] {
  let stages: Readonly<Record<string, { start?: unknown; finished?: unknown } | null | string>>;
  try {
    stages = (JSON.parse(status) as { v1?: typeof stages }).v1 ?? {};
  } catch {
    return [];
  }
  const instant = (value: number) => (value < 1e8 ? bootedAt + 1_000 * value : 1_000 * value);
  return Object.entries(stages).flatMap(([name, stage]) => {
    if (stage === null || typeof stage !== "object") return [];
    const { start, finished } = stage;
    if (typeof start !== "number" || typeof finished !== "number") return [];
    return [{ name: `stage ${name}`, from: instant(start), to: instant(finished) }];
  });
}
