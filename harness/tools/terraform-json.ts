import { KpiError } from "../core/errors.ts";
import type { Progress } from "../core/event.ts";

/** What Terraform would do, or does, to one resource. */
export interface Change {
  /** As Terraform writes it: `libvirt_domain.node["k3s-cp-01"]`. */
  readonly address: string;
  readonly action: "create" | "update" | "replace" | "delete";
  /** Why it is replaced or deleted, in Terraform's own word, such as `cannot_update`. */
  readonly reason?: string;
}

export interface Diagnostic {
  readonly severity: string;
  readonly summary: string;
  readonly detail: string;
  readonly address?: string;
}

/** The lines of `terraform -json` that matter here; all others are `other`. */
export type Line =
  | { readonly type: "diagnostic"; readonly diagnostic: Diagnostic }
  | { readonly type: "planned"; readonly change: Change }
  | { readonly type: "summary"; readonly total: number }
  | { readonly type: "started" | "completed" | "errored"; readonly address: string; readonly action: string }
  | { readonly type: "other" };

const actions = ["create", "update", "replace", "delete"] as const;
const hooks: Readonly<Record<string, "started" | "completed" | "errored">> = {
  apply_start: "started",
  apply_complete: "completed",
  apply_errored: "errored",
};

/** Reads one line of `terraform -json`. Throws a `contract` error when it is not what Terraform documents. */
export function parseLine(text: string): Line {
  if (text === "") return { type: "other" };
  const line = object(parse(text), text);
  const type = string(line["type"], text);
  if (type === "diagnostic") {
    const { severity, summary, detail, address } = object(line["diagnostic"], text);
    return {
      type,
      diagnostic: {
        severity: string(severity, text),
        summary: string(summary, text),
        detail: typeof detail === "string" ? detail : "",
        ...(typeof address === "string" ? { address } : {}),
      },
    };
  }
  if (type === "planned_change") {
    const change = object(line["change"], text);
    const action = actions.find((known) => known === change["action"]);
    if (action === undefined) return { type: "other" }; // no-op, read, move: nothing is made or unmade
    const address = string(object(change["resource"], text)["addr"], text);
    const reason = change["reason"];
    return { type: "planned", change: { address, action, ...(typeof reason === "string" ? { reason } : {}) } };
  }
  if (type === "change_summary") {
    const changes = object(line["changes"], text);
    const count = (name: string) => (typeof changes[name] === "number" ? changes[name] : 0);
    return { type: "summary", total: count("add") + count("change") + count("remove") };
  }
  const hook = hooks[type];
  if (hook === undefined) return { type: "other" };
  const { resource, action } = object(line["hook"], text);
  return { type: hook, address: string(object(resource, text)["addr"], text), action: string(action, text) };
}

/** The changes of a plan, each resource once. */
export function plannedChanges(lines: readonly Line[]): Change[] {
  const byAddress = new Map<string, Change>();
  for (const line of lines) if (line.type === "planned") byAddress.set(line.change.address, line.change);
  return [...byAddress.values()];
}

/** Turns the lines of an apply or destroy into progress: what is being worked on, and how many steps of how many are done. */
export function countDone(): { see(line: Line): Progress | undefined; done(): number } {
  let done = 0;
  let total: number | undefined;
  const progress = (what: string): Progress => ({
    what,
    done,
    unit: "steps",
    ...(total === undefined ? {} : { total }),
  });
  return {
    see: (line) => {
      if (line.type === "summary") {
        // The one at the end counts what was done, not what is to do.
        total ??= line.total;
        return undefined;
      }
      if (line.type === "completed") done += 1;
      return line.type === "started" || line.type === "completed"
        ? progress(`${line.action} ${line.address}`)
        : undefined;
    },
    done: () => done,
  };
}

/** The values of `terraform output -json`, by name. Throws a `contract` error when it is not what Terraform documents. */
export function parseOutputs(text: string): Readonly<Record<string, unknown>> {
  return Object.fromEntries(
    Object.entries(object(parse(text), text)).map(([name, output]) => {
      const { value } = object(output, text);
      if (value === undefined) throw unexpected(text);
      return [name, value];
    }),
  );
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw unexpected(text);
  }
}

function object(value: unknown, text: string): Readonly<Record<string, unknown>> {
  if (value === null || typeof value !== "object" || Array.isArray(value)) throw unexpected(text);
  return value as Readonly<Record<string, unknown>>;
}

function string(value: unknown, text: string): string {
  if (typeof value !== "string") throw unexpected(text);
  return value;
}

function unexpected(text: string): KpiError {
  return new KpiError("contract", "terraform -json wrote what it does not document", {
    expected: "JSON as in Terraform's machine-readable UI, or an object of outputs",
    got: text.length > 200 ? `${text.slice(0, 200)}...` : text,
  });
}
