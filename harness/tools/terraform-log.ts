/** What Terraform did to one resource, by its own time stamps in milliseconds since 1970. */
export interface TerraformSpan {
  readonly address: string;
  readonly action: string;
  readonly from: number;
  readonly to: number;
  readonly failed: boolean;
}

interface HookLine {
  readonly "@timestamp": string;
  readonly type: string;
  readonly hook: { readonly action: string; readonly resource: { readonly addr: string } };
}

/** Reads the kept output of `terraform -json` (and of commands without it, whose lines are passed over). A resource that was begun and never ended is left out. */
export function terraformSpans(log: string): TerraformSpan[] {
  const open = new Map<string, number>();
  return log.split("\n").flatMap((text) => {
    const line = hookLine(text);
    if (line === undefined) return [];
    const { action, resource } = line.hook;
    const at = Date.parse(line["@timestamp"]);
    const key = `${action} ${resource.addr}`;
    if (line.type === "apply_start") open.set(key, at);
    const from = open.get(key);
    if (from === undefined || (line.type !== "apply_complete" && line.type !== "apply_errored")) return [];
    open.delete(key);
    return [{ address: resource.addr, action, from, to: at, failed: line.type === "apply_errored" }];
  });
}

function hookLine(text: string): HookLine | undefined {
  if (!text.startsWith("{") || !text.includes('"hook"')) return undefined;
  try {
    const line = JSON.parse(text) as Partial<HookLine>;
    return typeof line["@timestamp"] === "string" && line.hook?.resource !== undefined ? (line as HookLine) : undefined;
  } catch {
    return undefined; // torn
  }
}
