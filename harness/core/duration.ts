/** A length of time in milliseconds. Written `"5m"` or `"1m30s"` in YAML. */
export type Duration = number & { readonly __duration: unique symbol };

const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000 } as const;
const part = /(\d+(?:\.\d+)?)(ms|s|m|h)/y;

export const milliseconds = (count: number): Duration => count as Duration;
export const seconds = (count: number): Duration => (count * 1_000) as Duration;
export const minutes = (count: number): Duration => (count * 60_000) as Duration;

/** Parses `"250ms"`, `"30s"`, `"1m30s"`, `"2h"`; undefined when the text is no duration. */
export function parseDuration(text: string): Duration | undefined {
  part.lastIndex = 0;
  let total = 0;
  while (part.lastIndex < text.length) {
    const match = part.exec(text);
    if (match === null) return undefined;
    total += Number(match[1]) * unitMs[match[2] as keyof typeof unitMs];
  }
  return text.length > 0 ? (total as Duration) : undefined;
}

/** Short text for people: `420ms`, `12.3s`, `4m07s`, `1h02m`. */
export function formatDuration(duration: number): string {
  if (duration < 1_000) return `${Math.round(duration)}ms`;
  if (duration < 59_950) return `${(duration / 1_000).toFixed(1)}s`;
  const whole = Math.round(duration / 1_000);
  const two = (value: number) => String(value).padStart(2, "0");
  if (whole < 3_600) return `${Math.floor(whole / 60)}m${two(whole % 60)}s`;
  return `${Math.floor(whole / 3_600)}h${two(Math.floor((whole % 3_600) / 60))}m`;
}
