import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { errorFields, errorJson, exitCode, KpiError, renderError } from "./errors.ts";

const error = new KpiError("deadline", "install: k3s on n1 did not become active", {
  details: ["waited 4m00s, 37 attempts; last saw: activating"],
  command: "ssh n1 true",
  hint: "see its journal",
  evidence: ["runs/x/n1/journal.log"],
});

test("an error is one sentence, then one line a field", () => {
  expect(renderError(error)).toBe(
    [
      "install: k3s on n1 did not become active",
      "  waited 4m00s, 37 attempts; last saw: activating",
      "  command: ssh n1 true",
      "  hint: see its journal",
      "  evidence: runs/x/n1/journal.log",
    ].join("\n"),
  );
});

test("anything else is a bug and shows its stack", () => {
  expect(renderError(new TypeError("x is undefined"))).toMatch(/^bug: TypeError: x is undefined\n\s+at /);
});

test("what the system refuses is no bug: it says what, and where", () => {
  const dir = mkdtempSync(join(tmpdir(), "errors-"));
  writeFileSync(join(dir, "file"), "");
  const refused = thrownBy(() => mkdirSync(join(dir, "file", "below"), { recursive: true }));
  expect(renderError(refused)).toBe(`the system refuses: not a directory, mkdir '${join(dir, "file", "below")}'`);
  expect(errorJson(refused)["kind"]).toBe("host");
  const full = thrownBy(() => writeFileSync("/dev/full", "text"));
  expect(renderError(full)).toStartWith("the system refuses: no space left on device, write\n  hint: free space");
  expect(renderError(thrownBy(() => readFileSync(join(dir, "absent"))))).toStartWith("bug: ");
  rmSync(dir, { recursive: true });
});

function thrownBy(work: () => unknown): unknown {
  try {
    return work();
  } catch (error) {
    return error;
  }
}

test("json has the same fields", () => {
  expect(errorJson(error)).toMatchObject({
    kind: "deadline",
    hint: "see its journal",
    evidence: ["runs/x/n1/journal.log"],
  });
});

test("read back from json it says the same", () => {
  const again = new KpiError(error.kind, error.what, errorFields(JSON.parse(JSON.stringify(errorJson(error)))));
  expect(renderError(again)).toBe(renderError(error));
  expect(errorFields({ hint: 1, details: "no list", evidence: undefined })).toEqual({});
});

test("exit codes: bad input 2, interrupt 130, else 1", () => {
  expect([new KpiError("spec", ""), new KpiError("interrupted", ""), error, new Error()].map(exitCode)).toEqual([
    2, 130, 1, 1,
  ]);
});

test("with() adds evidence and keeps the rest", () => {
  expect(error.with({ evidence: ["more.log"] })).toMatchObject({
    what: error.what,
    hint: error.hint,
    evidence: ["runs/x/n1/journal.log", "more.log"],
  });
});
