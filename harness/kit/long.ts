import { plugin } from "bun";
import { basename } from "node:path";
import { milliseconds } from "../core/duration.ts";
import { longVariable } from "../run/suite-record.ts";
import { testArguments, testFilters } from "./look-ahead.ts";
import { noteClaim } from "./results.ts";

/** Specs that a suite runs only when they are asked for, and what they do and take; README.md says how long the others take. */
export const longSpecs: Readonly<Record<string, string>> = {
  "breaking.spec.ts": "forty-nine breakages of a fork, about five minutes in emulation",
  "budget.spec.ts": "three boots on a machine that does nothing else, about two minutes in emulation",
  "faults.spec.ts": "eleven faults on a fork, three boots among them, about nine minutes in emulation",
  "host.spec.ts": "two clusters on a libvirt that is no lab's, about four minutes in emulation",
  "crash.spec.ts": "five killed runs and two clusters, about six minutes in emulation",
};

/**
 * The long files that are not run, each with the reason and what runs it: those that no argument of bun test names, unless -t picks
 * tests by title; `kpi test` decides for all by a variable. Pure.
 */
export function skippedSpecs(args: readonly string[], told: string | undefined): Readonly<Record<string, string>> {
  const { byTitle, paths } = testFilters(args);
  if (told === "1" || (told !== "0" && byTitle)) return {};
  const named = (file: string) => told !== "0" && paths.some((path) => path.includes(file.replace(/\.spec\.ts$/, "")));
  const skipped = Object.entries(longSpecs).filter(([file]) => !named(file));
  const why = ([file, reason]: [string, string]) =>
    [file, `${reason}; kpi test --all runs it, and bun test specs/${file}`] as const;
  return Object.fromEntries(skipped.map(why));
}

/** Has bun load a test that is skipped, whose title says why, in place of each long file that nobody has asked for. */
export function skipLongSpecs(args = testArguments(), told = process.env[longVariable]): void {
  const skipped = skippedSpecs(args, told);
  const files = Object.keys(skipped);
  if (files.length === 0) return; // bun takes no "load it as ever" for an answer
  const filter = new RegExp(`/specs/(${files.join("|").replaceAll(".", "\\.")})$`);
  const load = (path: string) => {
    const file = basename(path);
    const why = skipped[file] ?? "";
    const title = `(the whole file): ${why}`;
    const place = { file: `specs/${file}`, line: 1, area: file.replace(/\.spec\.ts$/, "") };
    noteClaim({ ...place, title, outcome: "skipped", at: new Date().toISOString(), elapsed: milliseconds(0), why });
    return `import { test } from "bun:test";\ntest.skip(${JSON.stringify(title)}, () => {});\n`;
  };
  plugin({
    name: "long specs",
    setup: (build) => void build.onLoad({ filter }, ({ path }) => ({ contents: load(path), loader: "ts" })),
  });
}
