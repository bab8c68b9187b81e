import { basename } from "node:path";
import type { ClaimOutcome, ClaimResult } from "../core/claim.ts";
import { type Duration, milliseconds, parseDuration } from "../core/duration.ts";

/** A test as bun's own lines tell it. */
export interface BunTest {
  readonly file: string;
  readonly title: string;
  readonly outcome: Exclude<ClaimOutcome, "blocked">;
  readonly elapsed: Duration;
  /** When its line came, ISO 8601. */
  readonly ended: string;
  /** What bun printed since the test before it, for a failure. */
  readonly details: readonly string[];
}

const testName = String.raw`[._](?:test|spec)\.[cm]?[jt]sx?`;
/** A path of what bun takes for a file of tests. */
export const testFile = new RegExp(`${testName}$`);
const heading = new RegExp(`^(\\S.*${testName}):$`);
const result = /^\((pass|fail|skip|todo)\) (.*?)(?: \[([\d.]+m?s)\])?$/;
/** Begins a line that only tells what is being waited for: no failure's details. */
export const progressMark = "… ";
/** bun's title for a hook that failed. */
const hook = "(unnamed)";
const outside = "# Unhandled error between tests";
/** The sum, or before it, in a long run, all that was not passed once more. */
const summary = /^(?:\s*\d+ (?:pass|fail|skip|todo|error)s?|\d+ tests? (?:skipped|todo|failed):)$/;
/** What else stands there, up to bun's last line. */
const inSummary = /^(?:\((?:fail|skip|todo)\) .*|\s*\d+ (?:expect\(\) calls|snapshots?\b.*)|\s*)$/;
const last = /^Ran \d+ tests? across \d+ files?\./;
const outcomes = { pass: "passed", fail: "failed", skip: "skipped", todo: "skipped" } as const;
const linesKept = 60;

/**
 * Reads bun's lines as they come. Its JUnit reporter loses what concurrent tests failed with, so its lines are the source. An error
 * outside of a test counts as a failed test of its file, as it does in bun's own sum.
 */
export class BunOutput {
  readonly tests: BunTest[] = [];
  private file = "";
  private pending: string[] = [];
  /** Lines since what looks like the sum: known to be one, and no test's own output, when bun's last line follows. */
  private sum: string[] = [];

  line(text: string, at = new Date()): void {
    const plain = text.replaceAll(/\x1b\[[0-9;]*m/g, "");
    if (plain.startsWith(progressMark)) return;
    if (summary.test(plain) || (this.sum.length > 0 && inSummary.test(plain))) {
      this.sum.push(plain);
      return;
    }
    const held = this.sum.splice(0);
    if (held.length > 0 && last.test(plain)) {
      this.flushOutside(at);
      this.pending.push(...held, plain); // of a suite that a test ran and shows, if anything follows
      return;
    }
    for (const each of held) this.take(each, at);
    this.take(plain, at);
  }

  private take(plain: string, at: Date): void {
    const named = heading.exec(plain);
    if (named !== null) {
      this.flushOutside(at);
      this.file = (named[1] ?? "").replace(/^\.\//, "");
      return;
    }
    const [, word, title = "", took = "0s"] = result.exec(plain) ?? [];
    if (word !== undefined) {
      const outcome = outcomes[word as keyof typeof outcomes];
      this.add(title, outcome, parseDuration(took) ?? milliseconds(0), at);
      return;
    }
    this.pending.push(plain);
  }

  private add(title: string, outcome: BunTest["outcome"], elapsed: Duration, at: Date): void {
    this.flushOutside(at);
    const details = outcome === "failed" ? this.pending.slice(-linesKept) : [];
    this.tests.push({ file: this.file, title, outcome, elapsed, ended: at.toISOString(), details });
    this.pending = [];
  }

  /** The error that bun reports between two rules when a file cannot even be loaded. */
  private flushOutside(at: Date): void {
    const from = this.pending.indexOf(outside);
    if (from < 0) return;
    const rules = this.pending.flatMap((line, index) => (/^-{20,}$/.test(line) && index > from ? [index] : []));
    const until = rules[1] ?? this.pending.length - 1;
    const details = this.pending.slice(from + 2, until).slice(-linesKept);
    this.pending = this.pending.slice(until + 1);
    this.tests.push({
      file: this.file,
      title: "(outside of a test)",
      outcome: "failed",
      elapsed: milliseconds(0),
      ended: at.toISOString(),
      details,
    });
    this.flushOutside(at);
  }
}

/**
 * One list of all that was judged: the claims as the kit reports them, and what only bun knows, its unit tests. A claim that bun
 * ran is one entry, not two. Where both speak and bun says failed, a claim that says otherwise is not believed.
 */
export function joinResults(claims: readonly ClaimResult[], tests: readonly BunTest[]): ClaimResult[] {
  const key = ({ file, title }: { file: string; title: string }) => `${file}\0${title}`;
  const waiting = Map.groupBy(claims, key);
  // What is judged after a file's tests, bun runs as a hook: it counts its failure as a test, and has no name for it.
  const ran = new Set(tests.map(key));
  const afterwards = claims.filter((claim) => claim.outcome === "failed" && !ran.has(key(claim)));
  const ofHook = ({ file }: BunTest) => {
    const own = afterwards.findIndex((claim) => claim.file === file);
    const [claim] = afterwards.splice(Math.max(own, 0), 1);
    return claim === undefined ? undefined : waiting.get(key(claim))?.shift();
  };
  const joined = tests.map((test) => {
    const claim = test.title === hook ? ofHook(test) : waiting.get(key(test))?.shift();
    if (claim === undefined) return fromBun(test);
    const contradicts = test.outcome === "failed" && claim.outcome !== "failed" && claim.outcome !== "blocked";
    return contradicts ? { ...claim, outcome: "failed" as const, error: errorOf(test) } : claim;
  });
  return [...joined, ...[...waiting.values()].flat()];
}

/** A check that bun did not run, as a test: whoever reads results wants to see all of them. */
export function otherTest(
  file: string,
  title: string,
  outcome: BunTest["outcome"],
  more: Partial<Pick<BunTest, "elapsed" | "details">> = {},
): BunTest {
  return { file, title, outcome, elapsed: milliseconds(0), details: [], ...more, ended: new Date().toISOString() };
}

function fromBun(test: BunTest): ClaimResult {
  const { file, title, outcome, elapsed, ended } = test;
  // The frame in the test's own file, whatever it called; bun writes frames with absolute paths and headings with relative ones.
  const frames = test.details.map((detail) => /([^\s()/]+):(\d+):\d+\)?$/.exec(detail));
  const line = Number(frames.find((frame) => frame?.[1] === basename(file))?.[2] ?? 1);
  return {
    file,
    line,
    area: file.replace(/^.*\//, "").replace(/\.(?:test|spec)\.[jt]sx?$/, ""),
    title,
    outcome,
    at: new Date(Date.parse(ended) - elapsed).toISOString(),
    elapsed,
    ...(outcome === "failed" ? { error: errorOf(test) } : {}),
    ...(outcome === "skipped" ? { why: "skipped by its own condition" } : {}),
  };
}

function errorOf({ details }: BunTest): Record<string, unknown> {
  const said = details.find((line) => /^\s*(?:error|\w*Error|timeout)\b/.test(line)) ?? "failed";
  return { kind: "claim", what: said.trim().replace(/^error: /, ""), details };
}
