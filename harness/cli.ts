import { KpiError, renderError, errorJson, exitCode } from "./core/errors.ts";
import { kpiPaths } from "./core/paths.ts";
import { endWithReader } from "./run/interrupt.ts";
import { reap } from "./run/reap.ts";
import { commands, type Command } from "./commands/commands.ts";
import { parseArgs } from "node:util";

/** Reads the command line, runs one command, and turns what it throws into one text and one exit code. */
async function main(argv: readonly string[]): Promise<number> {
  const [name, ...rest] = argv;
  if (name === undefined || name === "--help" || name === "-h") return print(overview());
  if (name === "--version") return print(`kpi ${version}`);
  if (name === "help") return print(rest[0] === undefined ? overview() : usage(rest[0], find(rest[0])));
  const command = find(name);
  // What follows `--`, and for pass-through commands everything, is not ours to read.
  const split = command.passThrough === true ? 0 : rest.indexOf("--");
  const ours = split < 0 ? rest : rest.slice(0, split);
  const theirs = split < 0 ? [] : rest.slice(command.passThrough === true ? 0 : split + 1);
  if (ours.includes("--help") || ours.includes("-h")) return print(usage(name, command));
  const { values, positionals } = parse(name, command, ours);
  if (command.readOnly !== true) {
    await reap(kpiPaths(), (line) => process.stderr.write(`kpi: removed what a killed run left: ${line}\n`));
  }
  return command.run({ values, positionals, rest: theirs });
}

function find(name: string): Command {
  const command = Object.hasOwn(commands, name) ? commands[name] : undefined;
  if (command !== undefined) return command;
  throw new KpiError("spec", `there is no command ${JSON.stringify(name)}`, {
    expected: Object.keys(commands)
      .filter((known) => commands[known]?.hidden !== true)
      .join(", "),
    hint: "kpi --help",
  });
}

function parse(name: string, command: Command, args: readonly string[]) {
  try {
    const { values, positionals } = parseArgs({
      args: [...args],
      options: { ...command.options },
      allowPositionals: true,
      strict: true,
    });
    const known = command.positionals ?? [];
    const surplus = known.at(-1)?.includes("...") === true ? undefined : positionals[known.length];
    if (surplus !== undefined) throw new TypeError(`unexpected argument ${JSON.stringify(surplus)}`);
    return { values, positionals };
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const sentence = error.message.split(". ")[0] ?? error.message;
    throw new KpiError("spec", `${name}: ${sentence.charAt(0).toLowerCase()}${sentence.slice(1)}`, {
      hint: `kpi ${name} --help`,
    });
  }
}

function overview(): string {
  const shown = Object.entries(commands).filter(([, command]) => command.hidden !== true);
  const width = Math.max(...shown.map(([name]) => name.length));
  return [
    "kpi: from a bare Linux machine to a verified k3s cluster on QEMU/KVM, and the proof that it still works",
    "",
    "usage: kpi COMMAND [ARGUMENTS]   (kpi COMMAND --help tells more)",
    "",
    ...shown.map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`),
    "",
    "start with: kpi up",
  ].join("\n");
}

function usage(name: string, command: Command): string {
  const options = Object.entries(command.options).map(([flag, option]) => {
    const value = option.type === "string" ? ` ${option.value ?? "VALUE"}` : "";
    const short = option.short === undefined ? "" : `-${option.short}, `;
    return `  ${short}--${flag}${value}`.padEnd(22) + ` ${option.help ?? ""}`;
  });
  const words = [
    name,
    ...(command.positionals ?? []),
    ...(options.length > 0 ? ["[OPTIONS]"] : []),
    ...(command.tail === undefined ? [] : [command.tail]),
  ];
  return [
    `usage: kpi ${words.join(" ")}`,
    "",
    command.summary,
    ...(command.more === undefined ? [] : ["", command.more]),
    ...(options.length > 0 ? ["", ...options] : []),
  ].join("\n");
}

function print(text: string): number {
  process.stdout.write(`${text}\n`);
  return 0;
}

const { version } = (await import("../package.json", { with: { type: "json" } })).default;
const argv = process.argv.slice(2);
let unwritten: Error | undefined;
endWithReader((why) => (unwritten ??= why));
try {
  process.exitCode = await main(argv);
} catch (error) {
  const before = argv.indexOf("--") < 0 ? argv : argv.slice(0, argv.indexOf("--"));
  if (before.includes("--json")) process.stdout.write(`${JSON.stringify({ error: errorJson(error) })}\n`);
  process.stderr.write(`kpi: ${renderError(error)}\n`);
  process.exitCode = exitCode(error);
}
// A pipe may still hold part of the output; idle connections (a watch, a tunnel) would hold a finished command open.
await Promise.all(
  [process.stdout, process.stderr].map((stream) => new Promise<void>((done) => void stream.write("", () => done()))),
);
await new Promise((told) => void setImmediate(told)); // bun says a turn later what it could not write
if (unwritten !== undefined) {
  process.stderr.write(`kpi: what was said is not whole: ${renderError(unwritten)}\n`);
  process.exitCode ||= 1;
}
process.exit();
