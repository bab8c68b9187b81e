import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Duration, minutes, seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import type { OnProgress } from "../core/event.ts";
import { projectRoot } from "../core/paths.ts";
import { run } from "./exec.ts";

export interface TerraformOptions {
  /** Terraform's or tofu's program. */
  readonly command: string;
  /** Text of the CLI configuration that says where providers come from. */
  readonly cliConfig: string;
  /** The cluster's own directory for it: a copy of the modules, variables, state, plugins' links. Made 0700. */
  readonly dir: string;
  /** What Terraform says is appended here. */
  readonly log: string;
}

interface ApplyOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
}

/** A resource and what Terraform would do to it. */
export interface ResourceChange {
  readonly address: string;
  readonly actions: readonly ("create" | "update" | "delete" | "read" | "no-op" | "forget")[];
}

const modules = ["terraform-libvirt", "cloud-init"] as const;
const noted = "options.json";

/**
 * Terraform on the modules of this project, as they were when the cluster was made: they are copied beside the state, so
 * that a changed checkout cannot keep an old cluster from being destroyed. State and variables hold secrets: 0600.
 */
export class Terraform {
  private readonly root: string;

  constructor(private readonly options: TerraformOptions) {
    this.root = join(options.dir, "terraform-libvirt");
  }

  /** The one that was prepared in this directory before, by its own note. */
  static reopen(dir: string): Terraform {
    return new Terraform(JSON.parse(readFileSync(join(dir, noted), "utf8")) as TerraformOptions);
  }

  /** Whether there is something in this directory that could be destroyed. */
  static hasState(dir: string): boolean {
    return existsSync(join(dir, "terraform.tfstate")) && existsSync(join(dir, noted));
  }

  /** Copies the modules and links the provider. Reaches no registry. */
  async init(signal?: AbortSignal): Promise<void> {
    const { dir, cliConfig } = this.options;
    for (const name of ["", "tmp"]) mkdirSync(join(dir, name), { recursive: true, mode: 0o700 });
    for (const name of modules) {
      cpSync(join(projectRoot, name), join(dir, name), {
        recursive: true,
        filter: (path) => !/\/\.terraform|\.tfstate|\.tfvars$/.test(path),
      });
    }
    writeFileSync(join(dir, "terraform.rc"), cliConfig, { mode: 0o600 });
    writeFileSync(join(dir, noted), JSON.stringify(this.options), { mode: 0o600 });
    await this.call(["init", "-input=false", "-no-color"], { ...(signal === undefined ? {} : { signal }) });
  }

  /** Writes the variables and makes what they say, resource by resource. */
  async apply(variables: Readonly<Record<string, unknown>>, options: ApplyOptions = {}): Promise<void> {
    writeFileSync(join(this.options.dir, "terraform.tfvars.json"), JSON.stringify(variables, null, 2), { mode: 0o600 });
    await this.change(["apply", "-auto-approve"], options);
  }

  /** What an apply would change now; empty when the world is as planned. */
  async plan(signal?: AbortSignal): Promise<ResourceChange[]> {
    const file = join(this.options.dir, "tmp", "plan");
    const stoppable = signal === undefined ? {} : { signal };
    const { code } = await this.call(
      ["plan", "-input=false", "-no-color", "-detailed-exitcode", `-out=${file}`, ...this.files],
      { accept: [0, 2], ...stoppable },
    );
    if (code === 0) return [];
    const { stdout } = await this.call(["show", "-json", file], { quiet: true, ...stoppable });
    const shown = parse(stdout) as {
      resource_changes?: { address: string; change: { actions: ResourceChange["actions"] } }[];
    };
    return (shown.resource_changes ?? [])
      .map(({ address, change }) => ({ address, actions: change.actions }))
      .filter(({ actions }) => actions.some((action) => action !== "no-op" && action !== "read"));
  }

  async destroy(options: ApplyOptions = {}): Promise<void> {
    await this.change(["destroy", "-auto-approve"], options);
  }

  /** The module's outputs by name. */
  async output(): Promise<Readonly<Record<string, unknown>>> {
    const { stdout } = await this.call(["output", "-json", `-state=${this.state}`], { quiet: true });
    const outputs = parse(stdout) as Record<string, { value: unknown }>;
    return Object.fromEntries(Object.entries(outputs).map(([name, { value }]) => [name, value]));
  }

  private get state(): string {
    return join(this.options.dir, "terraform.tfstate");
  }

  private get files(): string[] {
    return [`-state=${this.state}`, `-var-file=${join(this.options.dir, "terraform.tfvars.json")}`];
  }

  /** Runs a change with machine-readable output; its diagnostics become the error, the first cause first. */
  private async change(args: readonly string[], { signal, onProgress }: ApplyOptions): Promise<void> {
    const diagnostics: Diagnostic[] = [];
    let total = 0;
    let done = 0;
    const onLine = (line: string) => {
      const message = parseMessage(line);
      if (message?.diagnostic?.severity === "error") diagnostics.push(message.diagnostic);
      if (message?.type === "planned_change") total += 1;
      if (message?.type === "apply_start")
        onProgress?.({ what: message.hook?.resource?.addr ?? "", done, total, unit: "steps" });
      if (message?.type === "apply_complete")
        onProgress?.({ what: message.hook?.resource?.addr ?? "", done: ++done, total, unit: "steps" });
    };
    const stoppable = signal === undefined ? {} : { signal };
    try {
      await this.call([...args, "-json", "-input=false", ...this.files], { onLine, ...stoppable });
    } catch (error) {
      throw diagnostics.length > 0 && error instanceof KpiError ? explain(diagnostics, error) : error;
    }
  }

  private call(
    args: readonly string[],
    options: { accept?: readonly number[]; quiet?: boolean; signal?: AbortSignal; onLine?: (line: string) => void },
  ) {
    const { command, dir, log } = this.options;
    const { quiet = false, ...rest } = options;
    // umask: Terraform writes its state readable by all, and it holds the token and the host keys.
    const shell = ["-c", 'umask 077 && exec "$@"', "terraform", command, `-chdir=${this.root}`, ...args];
    return run("sh", shell, {
      ...rest,
      confined: true,
      timeout: minutes(15),
      grace: graceful,
      ...(quiet ? {} : { log }),
      env: {
        TF_CLI_CONFIG_FILE: join(dir, "terraform.rc"),
        TF_DATA_DIR: join(dir, "data"),
        TF_IN_AUTOMATION: "1",
        CHECKPOINT_DISABLE: "1",
        TMPDIR: join(dir, "tmp"),
      },
    });
  }
}

/** Terraform finishes what it is doing and writes its state before it ends. */
const graceful: Duration = seconds(20);

interface Diagnostic {
  readonly severity: string;
  readonly summary: string;
  readonly detail?: string;
  readonly address?: string;
  readonly range?: { readonly filename: string; readonly start: { readonly line: number; readonly column: number } };
}

interface Message {
  readonly type?: string;
  readonly diagnostic?: Diagnostic;
  readonly hook?: { readonly resource?: { readonly addr: string } };
}

/** A line of `terraform apply -json`; undefined when it is none. */
export function parseMessage(line: string): Message | undefined {
  try {
    return JSON.parse(line) as Message;
  } catch {
    return undefined;
  }
}

function explain([first, ...others]: readonly Diagnostic[], error: KpiError): KpiError {
  const place =
    first?.range === undefined
      ? ""
      : ` (${first.range.filename}:${first.range.start.line}:${first.range.start.column})`;
  return new KpiError(
    "command",
    `terraform: ${first?.address === undefined ? "" : `${first.address}: `}${first?.summary}${place}`,
    {
      details: [
        ...(first?.detail ?? "").split("\n").filter((line) => line.trim() !== ""),
        ...others.map(({ summary, address }) => `also: ${address ?? ""} ${summary}`),
      ],
      ...(error.command === undefined ? {} : { command: error.command }),
      evidence: error.evidence,
    },
  );
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new KpiError("contract", "terraform's output is no JSON", { got: text.slice(0, 200), cause });
  }
}
