import { readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { projectRoot } from "../core/paths.ts";

/**
 * The stages at which a run of bun test is going to look at a spec's cluster: bun loads a file only when the one before is done, and
 * looks that could be taken side by side would wait for each other. Nothing when claims are picked by
 * name: then only what they need is looked at.
 */
export function looksAhead(spec: string, stages: readonly string[], args = testArguments()): readonly string[] {
  const files = [...new Bun.Glob("specs/*.spec.ts").scanSync(projectRoot)].filter((file) => selects(args, file));
  const texts = files.map((file) => readFileSync(join(projectRoot, file), "utf8"));
  return stages.filter((stage) => texts.some((text) => looksAt(text, spec, stage)));
}

/** Whether a spec file's text has a claim on this look at this spec's cluster. Pure. */
export function looksAt(text: string, spec: string, stage: string): boolean {
  return text.includes(`useCluster("${spec}")`) && new RegExp(`\\.(expects|eachNode)\\(\\s*"${stage}"`).test(text);
}

/** Whether `bun test` with these arguments runs all of this file, a path relative to the project. Pure. */
export function selects(args: readonly string[], file: string): boolean {
  const { byTitle, paths } = testFilters(args);
  if (args[0] !== "test" || byTitle) return false;
  const chosen = (filter: string) =>
    /^\.{0,2}\//.test(filter) ? relative(projectRoot, resolve(projectRoot, filter)) === file : file.includes(filter);
  return paths.length === 0 || paths.some(chosen);
}

/** What the arguments of `bun test` pick: files by parts of their paths, tests by their titles; see `bun test --help`. Pure. */
export function testFilters(args: readonly string[]): { readonly byTitle: boolean; readonly paths: readonly string[] } {
  return {
    byTitle: args.some((arg) => /^(-t|--test-name-pattern)(=|$)/.test(arg)),
    paths: args.slice(1).filter((arg) => !arg.startsWith("-")),
  };
}

/** Whether `bun test` with these arguments runs a test of this title, those of its `describe`s before it; a pattern is bun's, a regular expression. Pure. */
export function picksTitle(args: readonly string[], title: string): boolean {
  const at = args.findIndex((arg) => /^(-t|--test-name-pattern)(=|$)/.test(arg));
  const [, joined] = /^[^=]+=(.*)$/s.exec(args[at] ?? "") ?? [];
  const pattern = joined ?? args[at + 1];
  return at < 0 || pattern === undefined || new RegExp(pattern).test(title);
}

/** bun keeps its own arguments from the tests; the kernel does not. */
export function testArguments(): readonly string[] {
  return readFileSync("/proc/self/cmdline", "utf8").split("\0").slice(1, -1);
}
