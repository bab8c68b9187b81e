/** The kinds of failure that a user can meet; each maps to one exit code. */
export type ErrorKind =
  | "spec" // the input is wrong: a spec, an option, an argument
  | "host" // this machine lacks something or refuses something
  | "busy" // another kpi is at work on it
  | "supply" // a registry, mirror or release could not deliver
  | "command" // an outside program failed
  | "contract" // a tool's output is not as promised
  | "deadline" // waited too long
  | "blocked" // something needed failed before
  | "claim" // wanted and seen differ
  | "interrupted"; // the user, or the system, said stop

/** What an error may carry besides its one sentence; all texts are lower case and free of secrets. */
export interface ErrorFields {
  /** What was wanted, in the user's words. */
  expected?: string;
  /** What was found instead. */
  got?: string;
  /** The outside command that failed, pasteable into a shell. */
  command?: string;
  /** What the user can do next. */
  hint?: string;
  /** Paths of files that show more. */
  evidence?: readonly string[];
  /** Further lines of fact, shown indented below the first. */
  details?: readonly string[];
  cause?: unknown;
}

/**
 * The only error that kpi throws on purpose. Anything else that reaches the command line is what the system refuses ({@link isRefusal}),
 * or a bug, which is shown with its stack.
 */
export class KpiError extends Error {
  override readonly name = "KpiError";
  readonly expected: string | undefined;
  readonly got: string | undefined;
  readonly command: string | undefined;
  readonly hint: string | undefined;
  readonly evidence: readonly string[];
  readonly details: readonly string[];

  constructor(
    readonly kind: ErrorKind,
    readonly what: string,
    fields: ErrorFields = {},
  ) {
    super(what, fields.cause === undefined ? undefined : { cause: fields.cause });
    this.expected = fields.expected;
    this.got = fields.got;
    this.command = fields.command;
    this.hint = fields.hint;
    this.evidence = fields.evidence ?? [];
    this.details = fields.details ?? [];
  }

  /** The same failure with evidence paths or a hint that only an outer layer knows. */
  with(more: ErrorFields): KpiError {
    const wrapped = new KpiError(this.kind, this.what, {
      ...definedFields(this),
      ...more,
      evidence: [...this.evidence, ...(more.evidence ?? [])],
      details: [...this.details, ...(more.details ?? [])],
      cause: this.cause,
    });
    if (this.stack !== undefined) wrapped.stack = this.stack;
    return wrapped;
  }
}

const refusals: ReadonlySet<unknown> = new Set([
  ...["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM", "ENOTDIR", "ENAMETOOLONG", "EMFILE", "ENFILE", "ENOMEM", "EIO"],
]);

/** Whether an error is the system's: a full or read-only disk, missing rights, a file where a directory should be. */
export const isRefusal = (error: unknown): error is Error & { readonly code: string } =>
  error instanceof Error && refusals.has((error as { code?: unknown }).code);

/** Does what is good to have, evidence say, and leaves it out where the system refuses: on a full disk a failure must still be tidied up. */
export async function unlessRefused<T>(work: () => T | Promise<T>): Promise<T | undefined> {
  try {
    return await work();
  } catch (error) {
    if (!isRefusal(error)) throw error;
    return undefined;
  }
}

/** The system's refusal in our words; anything else as it is. */
function inOurWords(error: unknown): unknown {
  if (!isRefusal(error)) return error;
  const full = ["ENOSPC", "EDQUOT", "EROFS"].includes(error.code);
  return new KpiError("host", `the system refuses: ${error.message.replace(`${error.code}: `, "")}`, {
    ...(full ? { hint: "free space there, or set KPI_STATE, KPI_CACHE or TMPDIR to another disk" } : {}),
    cause: error,
  });
}

function definedFields(error: KpiError): ErrorFields {
  const { expected, got, command, hint } = error;
  return {
    ...(expected === undefined ? {} : { expected }),
    ...(got === undefined ? {} : { got }),
    ...(command === undefined ? {} : { command }),
    ...(hint === undefined ? {} : { hint }),
  };
}

/** Exit code of a failure: 2 for bad input or usage, 130 for an interrupt, 1 for everything else. */
export function exitCode(error: unknown): 1 | 2 | 130 {
  if (!(error instanceof KpiError)) return 1;
  if (error.kind === "spec") return 2;
  return error.kind === "interrupted" ? 130 : 1;
}

/** The text a person reads: the sentence first, then one indented line a field. A bug keeps its stack. */
export function renderError(thrown: unknown): string {
  const error = inOurWords(thrown);
  if (!(error instanceof KpiError)) {
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    return `bug: ${stack}\n  hint: this is a fault in kpi itself; please report it with the lines above`;
  }
  const lines = [error.what, ...error.details.map((detail) => `  ${detail}`)];
  if (error.expected !== undefined) lines.push(`  expected: ${error.expected}`);
  if (error.got !== undefined) lines.push(`  got: ${error.got}`);
  if (error.command !== undefined) lines.push(`  command: ${error.command}`);
  if (error.hint !== undefined) lines.push(`  hint: ${error.hint}`);
  for (const path of error.evidence) lines.push(`  evidence: ${path}`);
  return lines.join("\n");
}

/** The same for `--json`. */
export function errorJson(thrown: unknown): Record<string, unknown> {
  const error = inOurWords(thrown);
  if (!(error instanceof KpiError)) {
    return { kind: "bug", what: error instanceof Error ? error.message : String(error) };
  }
  return {
    kind: error.kind,
    what: error.what,
    ...definedFields(error),
    ...(error.details.length > 0 ? { details: error.details } : {}),
    ...(error.evidence.length > 0 ? { evidence: error.evidence } : {}),
  };
}

/** What an error that was read back says besides its sentence: the inverse of {@link errorJson}. */
export function errorFields(json: Readonly<Record<string, unknown>>): ErrorFields {
  const text = (name: string) => (typeof json[name] === "string" ? { [name]: json[name] } : {});
  const list = (name: string) => (Array.isArray(json[name]) ? { [name]: json[name].map(String) } : {});
  return {
    ...text("expected"),
    ...text("got"),
    ...text("command"),
    ...text("hint"),
    ...list("details"),
    ...list("evidence"),
  };
}
