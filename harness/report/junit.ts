import { type ClaimResult, countClaims } from "../core/claim.ts";

/** What is true for a whole suite, and stands in every `testsuite` as properties. */
export interface JUnitContext {
  readonly suite: string;
  readonly hostname: string;
  /** Such as distribution, accelerator, factor. */
  readonly properties: Readonly<Record<string, string | number>>;
}

/**
 * JUnit XML (the shape that Surefire began and Jenkins' xunit schema `junit-10.xsd` states): one `testsuite` a file, one
 * `testcase` a claim. A failed claim is a `failure`; a blocked one an `error` of type `blocked`, which is what JUnit calls a test that
 * could not be judged; a skipped one is `skipped`. So every reader counts the three apart, and `failures + errors` is what bun counts
 * as failed. Attachments are `[[ATTACHMENT|path]]` lines, as Jenkins and GitLab read them.
 */
export function renderJUnit(claims: readonly ClaimResult[], context: JUnitContext): string {
  const files = Map.groupBy(claims, ({ file }) => file);
  const suites = [...files].sort(([a], [b]) => (a < b ? -1 : 1)).map(([file, found]) => suite(file, found, context));
  const { failed, blocked } = countClaims(claims);
  const counts = { tests: claims.length, failures: failed, errors: blocked };
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites${attributes({ name: context.suite, time: time(claims), ...counts })}>`,
    ...suites,
    "</testsuites>",
    "",
  ].join("\n");
}

function suite(file: string, claims: readonly ClaimResult[], { hostname, properties }: JUnitContext): string {
  const { failed, blocked, skipped } = countClaims(claims);
  const began = claims.map(({ at }) => at).sort()[0] ?? "";
  const head = attributes({
    name: file,
    tests: claims.length,
    failures: failed,
    errors: blocked,
    skipped,
    time: time(claims),
    timestamp: began.replace(/\.\d+Z$/, ""),
    hostname,
    file,
  });
  return [
    `  <testsuite${head}>`,
    "    <properties>",
    ...Object.entries(properties).map(([name, value]) => `      <property${attributes({ name, value })}/>`),
    "    </properties>",
    ...claims.map(testcase),
    "  </testsuite>",
  ].join("\n");
}

function testcase(claim: ClaimResult): string {
  const classname = [claim.area, claim.cluster].filter(Boolean).join(".");
  const head = attributes({ name: claim.title, classname, time: (claim.elapsed / 1_000).toFixed(3) });
  const inner = [...verdict(claim), ...attached(claim)];
  return inner.length === 0
    ? `    <testcase${head}/>`
    : [`    <testcase${head}>`, ...inner, "    </testcase>"].join("\n");
}

function verdict({ outcome, error, why = "", file, line, stage }: ClaimResult): string[] {
  const where = `${file}:${line}`;
  if (outcome === "skipped") return [`      <skipped${attributes({ message: why })}/>`];
  if (outcome === "blocked") {
    const message = why === "" ? "blocked" : `blocked ${why.startsWith("by ") ? why : `by ${why}`}`;
    const judges = stage === undefined ? "" : `\njudges stage ${stage}`;
    return [
      `      <error${attributes({ type: "blocked", message })}>${escape(`${message}\n${where}${judges}`)}</error>`,
    ];
  }
  if (outcome === "failed") {
    const message = errorMessage(error);
    const type = typeof error?.["kind"] === "string" ? error["kind"] : "claim";
    return [`      <failure${attributes({ type, message })}>${escape(errorText(error, where))}</failure>`];
  }
  return [];
}

function attached({ attachments = [] }: ClaimResult): string[] {
  if (attachments.length === 0) return [];
  return [`      <system-out>${escape(attachments.map((path) => `[[ATTACHMENT|${path}]]`).join("\n"))}</system-out>`];
}

/** The one sentence of an error as `errorJson` gives it. */
export function errorMessage(error: ClaimResult["error"]): string {
  return typeof error?.["what"] === "string" ? error["what"] : "failed";
}

/** All of an error as people read it: the sentence, where, then a line a field. */
export function errorText(error: ClaimResult["error"], where: string): string {
  const { what: _, kind: __, details, ...fields } = error ?? {};
  const lines = Array.isArray(details) ? details.map(String) : [];
  const said = Object.entries(fields).flatMap(([name, value]) =>
    (Array.isArray(value) ? value : [value]).map(
      (one) => `${name}: ${typeof one === "string" ? one : JSON.stringify(one)}`,
    ),
  );
  return [errorMessage(error), `at ${where}`, ...lines, ...said].join("\n");
}

const time = (claims: readonly ClaimResult[]) =>
  (claims.reduce((sum, { elapsed }) => sum + elapsed, 0) / 1_000).toFixed(3);

function attributes(values: Readonly<Record<string, string | number>>): string {
  return Object.entries(values)
    .map(([name, value]) => ` ${name}="${escape(String(value)).replaceAll("\n", "&#10;").replaceAll("\t", "&#9;")}"`)
    .join("");
}

/** XML 1.0 has no place at all for most control characters, terminal colours among them, nor for lone surrogates. */
function escape(text: string): string {
  return text
    .replaceAll(/\x1b\[[0-9;]*m/g, "")
    .toWellFormed()
    .replaceAll(/[^\t\n\x20-\uFFFD]/g, (char) => (char === "\r" ? "" : isPaired(char) ? char : "�"))
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");
}

/** Halves of a character beyond the basic plane: `toWellFormed` has left only those that belong together. */
const isPaired = (char: string) => char >= "\uD800" && char <= "\uDFFF";
