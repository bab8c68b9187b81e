import { expect, test } from "bun:test";
import type { ClaimResult } from "../core/claim.ts";
import { milliseconds } from "../core/duration.ts";
import { errorJson, KpiError } from "../core/errors.ts";
import { githubAnnotations } from "./github.ts";
import { renderJUnit } from "./junit.ts";

const claim = (title: string, more: Partial<ClaimResult>): ClaimResult => ({
  file: "specs/network.spec.ts",
  line: 12,
  area: "network",
  title,
  cluster: "kpi",
  outcome: "passed",
  at: "2026-11-25T01:00:00.500Z",
  elapsed: milliseconds(1_234.5),
  ...more,
});
const failure = new KpiError("claim", 'k3s-worker-01 has "10.0.0.9/24" & <more>', {
  expected: "192.168.122.11/24 on eth0\nand no other",
  details: ["\x1b[31mred\x1b[0m and \x07 a bell"],
  evidence: ["runs/x/journal.log"],
});
const claims = [
  claim("a static address", {}),
  claim("one address only", { outcome: "failed", error: errorJson(failure), attachments: ["runs/x/a.log"] }),
  claim("the gate held", { outcome: "blocked", stage: "network", why: "by stage boot" }),
  claim("IPv6: later, 100 %", { outcome: "skipped", why: "not planned", file: "specs/ipv6.spec.ts" }),
];
const xml = renderJUnit(claims, { suite: "s", hostname: "h", properties: { accelerator: "tcg", factor: "26.9" } });

test("failed, blocked and skipped are three things, and counted as such", () => {
  expect(xml).toContain('<testsuites name="s" time="4.938" tests="4" failures="1" errors="1">');
  expect(xml).toContain('tests="3" failures="1" errors="1" skipped="0" time="3.704" timestamp="2026-11-25T01:00:00"');
  expect(xml).toContain('<error type="blocked" message="blocked by stage boot">');
  expect(xml).toContain('<skipped message="not planned"/>');
  expect(xml).toContain('<testcase name="a static address" classname="network.kpi" time="1.234"/>');
});

test("a failure says what, where and why; nothing in it breaks the document", () => {
  expect(xml).toContain('message="k3s-worker-01 has &quot;10.0.0.9/24&quot; &amp; &lt;more&gt;"');
  expect(xml).toContain(
    "at specs/network.spec.ts:12\nred and � a bell\nexpected: 192.168.122.11/24 on eth0\nand no other",
  );
  expect(xml).toContain("[[ATTACHMENT|runs/x/a.log]]");
  expect(xml).toContain('<property name="factor" value="26.9"/>');
});

test("attributes keep their line breaks, and characters that XML has no place for are replaced", () => {
  const odd = renderJUnit([claim("two\nlines 🙂 \uD800 \x00", {})], { suite: "s", hostname: "h", properties: {} });
  expect(odd).toContain('name="two&#10;lines 🙂 � �"');
});

test("annotations: errors for failures, warnings for what they blocked, each escaped as the runner reads it", () => {
  const error = errorJson(new KpiError("blocked", "blocked by boot: no answer"));
  const blocked = claim("it is Ready", { outcome: "blocked", why: "by boot", error });
  const lines = githubAnnotations([...claims, claim("a: b, 50 %", { outcome: "failed" }), blocked]);
  expect(lines).toHaveLength(4);
  expect(lines[3]).toEndWith("::blocked by boot: no answer");
  expect(lines[0]).toStartWith("::error file=specs/network.spec.ts,line=12,title=one address only::k3s-worker-01 has");
  expect(lines[0]).toContain("%0Aexpected: 192.168.122.11/24 on eth0%0Aand no other");
  expect(lines[0]).not.toContain("\n");
  expect(lines[1]).toBe("::warning file=specs/network.spec.ts,line=12,title=the gate held::blocked by stage boot");
  expect(lines[2]).toContain("title=a%3A b%2C 50 %25::");
});
