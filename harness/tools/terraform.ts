import { existsSync } from "node:fs";
import { cp, mkdir, rm } from "node:fs/promises";
import { join, relative } from "node:path";
import { type Duration, minutes } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import type { OnProgress } from "../core/event.ts";
import { projectRoot } from "../core/paths.ts";
import { type CommandResult, mayConfine, run, shellQuote } from "./exec.ts";
import {
  configurationOf,
  copyConfiguration,
  readVariables,
  secretsOf,
  type Variables,
  variablesPath,
  writeVariables,
} from "./terraform-files.ts";
import {
  type Change,
  type Diagnostic,
  type Line,
  countDone,
  parseLine,
  parseOutputs,
  plannedChanges,
} from "./terraform-json.ts";
import { readSound, readWhole, writeWhole } from "./whole-file.ts";

export type { Variables } from "./terraform-files.ts";
export type { Change } from "./terraform-json.ts";

/** How one cluster's Terraform is run. Paths are absolute. */
export interface TerraformSettings {
  /** The program. */
  readonly command: string;
  /** Text of the CLI configuration, which says where providers come from. */
  readonly cliConfig: string;
  /** Output of every call is appended here. */
  readonly log: string;
  /** Ours alone: a copy of the configuration, its variables, its state, temporary files. Made 0700. */
  readonly dir: string;
  /** The configuration to copy; modules that it calls as `../name` lie beside it. `terraform-libvirt` unless said otherwise. */
  readonly source?: string;
}

export interface TerraformCall {
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
  /** Hang guard; 10 minutes unless said otherwise. */
  readonly deadline?: Duration;
}

/** What a plan would do. No changes means that what runs is what was asked for. */
export interface TerraformPlan {
  readonly changes: readonly Change[];
  /** Hand the plan to `apply`, so that nothing else is done than what was shown. The file holds secrets. */
  readonly file: string;
}

/** Terraform for one cluster. Every call ends with this process, writes only below `dir`, and leaves files that only their owner can read. */
export class Terraform {
  readonly #root: string;
  readonly #rc: string;
  #secrets: readonly string[] = [];

  constructor(readonly settings: TerraformSettings) {
    this.#root = configurationOf(settings.dir);
    this.#rc = join(settings.dir, "terraform.rc");
    this.#secrets = secretsOf(readVariables(this.#root));
  }

  /** Whether something was applied from here and not destroyed since. */
  static hasState(dir: string): boolean {
    const state = join(configurationOf(dir), "terraform.tfstate");
    if (!existsSync(state)) return false;
    const { resources } = readSound<{ resources?: unknown[] }>(state) ?? {};
    return resources?.length !== 0; // of a state that is spoilt Terraform says so
  }

  /** The libvirt that was worked on from here; undefined where that is not known. */
  static libvirtUri(dir: string): string | undefined {
    const uri = readSound<Variables>(variablesPath(configurationOf(dir)))?.["libvirt_uri"];
    return typeof uri === "string" ? uri : undefined;
  }

  /** The same Terraform in a later process, with the settings of its `init`. */
  static reopen(dir: string): Terraform {
    const settings = readWhole<Omit<TerraformSettings, "dir">>(join(dir, "settings.json"));
    if (settings === undefined)
      throw new KpiError("contract", `no terraform was prepared in ${dir}`, { expected: "settings.json in it" });
    return new Terraform({ ...settings, dir });
  }

  /**
   * Copies what was applied from one directory, state, variables and provider, into another, where the same things are known under
   * `variables` that differ, and calls are logged to `log`.
   */
  static async copy(from: string, to: string, { log, variables = {} }: { log?: string; variables?: Variables } = {}) {
    const passing = [join(from, "tmp"), join(from, "plan.bin")];
    await mkdir(to, { recursive: true, mode: 0o700 });
    await cp(from, to, { recursive: true, verbatimSymlinks: true, filter: (path) => !passing.includes(path) });
    const { settings } = Terraform.reopen(to);
    const { dir: _, ...kept } = { ...settings, ...(log === undefined ? {} : { log }) };
    writeWhole(join(to, "settings.json"), JSON.stringify(kept));
    const root = configurationOf(to);
    writeVariables(root, { ...readVariables(root), ...variables });
  }

  /** Copies the configuration and fetches the provider. State and variables that are there stay. */
  async init(signal?: AbortSignal): Promise<void> {
    const { dir, source = join(projectRoot, "terraform-libvirt"), ...settings } = this.settings;
    await copyConfiguration(source, this.#root);
    writeWhole(join(dir, "settings.json"), JSON.stringify({ ...settings, source }));
    writeWhole(this.#rc, settings.cliConfig);
    await this.#call("init", ["-input=false", "-no-color"], { ...(signal === undefined ? {} : { signal }) });
  }

  /** Checks the configuration itself; needs `init`. */
  async validate(call: TerraformCall = {}): Promise<void> {
    await this.#call("validate", ["-no-color"], call);
  }

  /** What would have to change to get what `variables` say. Changes nothing. */
  async plan(variables: Variables, call: TerraformCall = {}): Promise<TerraformPlan> {
    await this.#write(variables);
    const file = join(this.settings.dir, "plan.bin");
    const lines: Line[] = [];
    const args = ["-json", "-input=false", "-detailed-exitcode", `-out=${file}`];
    const result = await this.#call("plan", args, call, (line) => lines.push(line));
    const changes = plannedChanges(lines);
    this.#agree(result, changes);
    return { changes, file };
  }

  /** What would have to change to get what the last `apply` was asked for. */
  async planAgain(call: TerraformCall = {}): Promise<TerraformPlan> {
    return this.plan(readVariables(this.#root), call);
  }

  /** Makes it so: what `variables` say, or exactly the plan that was made before. Resolves with the number of resources touched. */
  async apply(wanted: Variables | TerraformPlan, call: TerraformCall = {}): Promise<number> {
    if (!isPlan(wanted)) {
      await this.#write(wanted);
      return this.#follow("apply", ["-auto-approve"], call);
    }
    const count = await this.#follow("apply", [wanted.file], call);
    await rm(wanted.file, { force: true });
    return count;
  }

  /** Removes all that the state knows, by the configuration and variables that made it. Nothing to remove is no error. */
  async destroy(call: TerraformCall = {}): Promise<number> {
    if (!Terraform.hasState(this.settings.dir)) return 0;
    return this.#follow("destroy", ["-auto-approve"], call);
  }

  /** Values of the outputs, by name. */
  async outputs(call: TerraformCall = {}): Promise<Readonly<Record<string, unknown>>> {
    return parseOutputs((await this.#call("output", ["-json", "-no-color"], call)).stdout);
  }

  async #write(variables: Variables): Promise<void> {
    this.#secrets = secretsOf(variables);
    writeVariables(this.#root, variables);
  }

  async #follow(name: "apply" | "destroy", args: readonly string[], call: TerraformCall): Promise<number> {
    const count = countDone();
    await this.#call(name, ["-json", "-input=false", ...args], call, (line) => {
      const progress = count.see(line);
      if (progress !== undefined) call.onProgress?.(progress);
    });
    return count.done();
  }

  async #call(name: string, args: readonly string[], call: TerraformCall, lines?: (line: Line) => void) {
    const { command, dir, log } = this.settings;
    const temp = join(dir, "tmp");
    await mkdir(temp, { recursive: true, mode: 0o700 });
    const faults: Diagnostic[] = [];
    let broken: unknown;
    const onLine = (text: string, from: "stdout" | "stderr") => {
      if (lines === undefined || from === "stderr") return;
      try {
        const line = parseLine(text);
        if (line.type === "diagnostic" && line.diagnostic.severity === "error") faults.push(line.diagnostic);
        lines(line);
      } catch (error) {
        broken ??= error;
      }
    };
    try {
      // umask, because state, plan and variables hold secrets and Terraform would let everybody read them.
      const result = await run("sh", ["-c", 'umask 077; exec "$0" "$@"', command, name, ...args], {
        cwd: this.#root,
        confined: mayConfine,
        tied: true, // where it may not be confined: somebody else than root, with the machine's own libvirt
        env: {
          TF_CLI_CONFIG_FILE: this.#rc,
          TF_IN_AUTOMATION: "1",
          TF_LOG: "", // the provider's debug log holds the seeds
          CHECKPOINT_DISABLE: "1",
          // Seen from `cwd`, which is the provider's, too: it listens on a socket there, and a socket's path has room for 107 bytes only.
          TMPDIR: relative(this.#root, temp),
        },
        timeout: call.deadline ?? minutes(10),
        ...(call.signal === undefined ? {} : { signal: call.signal }),
        accept: name === "plan" ? [0, 2] : [0],
        grace: minutes(1), // told to stop, it finishes what is under way and saves the state
        log,
        secrets: this.#secrets,
        onLine,
      });
      if (broken !== undefined) throw broken;
      return result;
    } catch (error) {
      call.signal?.throwIfAborted(); // told to stop, Terraform has its own errors to report
      throw explain(
        name,
        `cd ${shellQuote([this.#root])} && ${shellQuote(["env", `TF_CLI_CONFIG_FILE=${this.#rc}`, command, name])}`,
        faults,
        log,
        error,
      );
    }
  }

  /** The exit code and the listed changes are two statements about one thing; when they contradict, neither can be trusted. */
  #agree({ code }: CommandResult, changes: readonly Change[]): void {
    // 2 without changes is no contradiction: outputs alone may change.
    if (code === 2 || changes.length === 0) return;
    throw new KpiError("contract", "terraform plan says that nothing changes, and lists changes", {
      expected: "exit code 2 with changes",
      got: `exit code ${code} with ${changes.map(({ action, address }) => `${action} ${address}`).join(", ")}`,
      evidence: [this.settings.log],
    });
  }
}

const isPlan = (wanted: Variables | TerraformPlan): wanted is TerraformPlan =>
  "changes" in wanted && typeof wanted["file"] === "string";

/** The first diagnostic is the cause; what follows it is mostly its consequence, so only its title is shown. */
function explain(name: string, command: string, faults: readonly Diagnostic[], log: string, error: unknown): unknown {
  if (!(error instanceof KpiError)) return error;
  const [first, ...others] = faults;
  if (first !== undefined) {
    const at = (address?: string) => (address === undefined ? "" : ` (${address})`);
    return new KpiError("command", `terraform ${name}: ${first.summary.trim()}${at(first.address)}`, {
      details: [
        ...first.detail.split("\n").filter((line) => line.trim() !== ""),
        ...others.map(({ summary, address }) => `then: ${summary.trim()}${at(address)}`),
      ],
      command,
      evidence: [log],
      cause: error,
    });
  }
  if (name === "init" && error.details.some((line) => /provider/i.test(line))) {
    return new KpiError("supply", "terraform cannot get the libvirt provider", {
      details: error.details,
      command,
      hint: "kpi supplies shows where it comes from",
      evidence: [log],
      cause: error,
    });
  }
  return error.kind === "command" ? error.with({ command }) : error;
}
