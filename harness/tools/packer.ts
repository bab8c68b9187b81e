import { type Duration, minutes, seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import type { OnProgress } from "../core/event.ts";
import { mayConfine, run } from "./exec.ts";

/** One build. Paths are absolute. */
export interface PackerBuild {
  /** Program, a name on the PATH or a path. */
  readonly command: string;
  /** Directory with the template. */
  readonly template: string;
  readonly variables: Readonly<Record<string, string | number>>;
  /** A directory of ours for Packer's temporary files and downloads; whoever made it removes it. */
  readonly work: string;
  /** Everything that Packer says is appended to this file. */
  readonly log: string;
  readonly timeout?: Duration;
  readonly signal?: AbortSignal;
  readonly onProgress?: OnProgress;
}

/** What Packer says to people in its machine-readable output. */
export interface PackerLine {
  readonly kind: "say" | "message" | "error";
  readonly text: string;
}

/** Packer must not call home, colour its output, or ask. */
const quiet = { CHECKPOINT_DISABLE: "1", PACKER_NO_COLOR: "1" } as const;

/**
 * For a Packer that is only asked something. It runs itself once more, to catch what a panic says in a file of the temporary directory, which
 * stays where it is ended meanwhile; with what that second one is told (panicwrap's cookie, Packer's main.go) it does not.
 */
export const packerAsked = { ...quiet, PACKER_WRAP_COOKIE: "49C22B1A-3A93-4C98-97FA-E07D18C787B5" } as const;

/** The version of a Packer program, `1.6.6`. */
export async function packerVersion(command: string, signal?: AbortSignal): Promise<string> {
  const options = {
    env: packerAsked,
    timeout: seconds(30),
    hint: "kpi doctor --fix",
    ...(signal === undefined ? {} : { signal }),
  };
  const { stdout } = await run(command, ["version"], options);
  const version = /v?(\d+\.\d+\.\d+)/.exec(stdout)?.[1];
  if (version === undefined)
    throw new KpiError("contract", `${command} version tells no version`, { got: stdout.slice(0, 80) });
  return version;
}

/**
 * Installs the plugins that a template directory's `plugins/` asks for; only Packer from 1.7 on has plugins apart. They come
 * from their release, so this throws a `supply` error when that is out of reach.
 */
export async function packerInit(build: PackerBuild, version: string): Promise<void> {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major === 1 && minor < 7) return;
  try {
    await run(build.command, ["init", `${build.template}/plugins`], optionsOf(build));
  } catch (error) {
    if (!(error instanceof KpiError)) throw error;
    throw new KpiError("supply", "packer could not get its qemu plugin", {
      details: error.details,
      evidence: [build.log],
      hint: "packer 1.6.6 has it built in",
      ...(error.command === undefined ? {} : { command: error.command }),
    });
  }
}

/**
 * Runs one build to its end. All that Packer starts ends with it, and with us. Throws a `command` error with what Packer
 * called errors.
 */
export async function packerBuild(build: PackerBuild): Promise<void> {
  const variables = Object.entries(build.variables).flatMap(([name, value]) => ["-var", `${name}=${value}`]);
  const errors: string[] = [];
  const onLine = (raw: string) => {
    const line = readPackerLine(raw);
    if (line === undefined) return;
    if (line.kind === "error") errors.push(line.text);
    const step = packerStep(line);
    if (step !== undefined) build.onProgress?.(step);
  };
  try {
    await run(build.command, ["build", "-machine-readable", ...variables, build.template], {
      ...optionsOf(build),
      onLine,
    });
  } catch (error) {
    build.signal?.throwIfAborted();
    if (!(error instanceof KpiError) || errors.length === 0) throw error;
    throw new KpiError("command", "packer could not build the image", {
      details: [...new Set(errors)].slice(0, 12),
      evidence: [build.log],
      ...(error.command === undefined ? {} : { command: error.command }),
    });
  }
}

function optionsOf({ work, log, timeout = minutes(30), signal }: PackerBuild) {
  // "." is `work`: its plugins listen on sockets there, and a socket's path has room for 107 bytes only.
  const env = { ...quiet, TMPDIR: ".", PACKER_CACHE_DIR: `${work}/cache`, PACKER_CONFIG_DIR: work };
  return {
    cwd: work,
    env,
    log,
    timeout,
    grace: seconds(2),
    confined: mayConfine,
    tied: true,
    ...(signal === undefined ? {} : { signal }),
  };
}

/** Reads one line of `-machine-readable`: `time,target,ui,kind,text`, with commas and line ends escaped. */
export function readPackerLine(raw: string): PackerLine | undefined {
  const [, , type, kind, ...rest] = raw.split(",");
  if (type !== "ui" || (kind !== "say" && kind !== "message" && kind !== "error")) return undefined;
  const text = rest
    .join(",")
    .replaceAll("%!(PACKER_COMMA)", ",")
    .replace(/\\[nr]/g, "\n")
    .trim()
    .replace(/^(?:==>|-->)? *[\w.-]+: +/, "");
  return text === "" ? undefined : { kind, text };
}

/** The moments of a build that a person wants to see, in order. */
const steps: readonly (readonly [RegExp, string])[] = [
  [/^Retrieving/, "checking the source image"],
  [/^Creating CD/, "making the seed disc"],
  [/^(Copying|Converting|Resizing) hard drive/, "copying the source image"],
  [/^Starting VM/, "starting the build machine"],
  [/^Waiting for SSH/, "waiting for its first boot"],
  [/^Provisioning with shell script: .*setup/, "setting up"],
  [/^Downloading/, "fetching the package list"],
  [/^Provisioning with shell script: .*verify/, "verifying"],
  [/^(Gracefully )?[Hh]alting/, "shutting down"],
  [/^Converting hard drive|^Build .* finished/, "writing the image"],
];

/** A line as progress of the build, or undefined when it says nothing new. */
export function packerStep({ kind, text }: PackerLine) {
  if (kind === "message") return /^setup: |^verify: /.test(text) ? { what: text } : undefined;
  const index = steps.findLastIndex(([pattern]) => pattern.test(text));
  const step = steps[index];
  return step === undefined
    ? undefined
    : { what: step[1], done: index + 1, total: steps.length, unit: "steps" as const };
}
