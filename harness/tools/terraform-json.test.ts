import { describe, expect, test } from "bun:test";
import { countDone, parseLine, parseOutputs, plannedChanges } from "./terraform-json.ts";

/** Recorded from Terraform 1.11.4, shortened to what it documents. */
const recorded = {
  version: `{"@level":"info","@message":"Terraform 1.11.4","terraform":"1.11.4","type":"version","ui":"1.2"}`,
  create: `{"@level":"info","@message":"x","change":{"resource":{"addr":"libvirt_domain.node[\\"k3s-cp-01\\"]"},"action":"create"},"type":"planned_change"}`,
  replace: `{"@level":"info","@message":"x","change":{"resource":{"addr":"libvirt_volume.root[\\"k3s-cp-01\\"]"},"action":"replace","reason":"replace_by_triggers"},"type":"planned_change"}`,
  noop: `{"@level":"info","@message":"x","change":{"resource":{"addr":"a.b"},"action":"no-op"},"type":"planned_change"}`,
  summary: `{"@level":"info","@message":"x","changes":{"add":3,"change":1,"import":0,"remove":2,"operation":"plan"},"type":"change_summary"}`,
  start: `{"@level":"info","@message":"x","hook":{"resource":{"addr":"libvirt_pool.own[0]"},"action":"create"},"type":"apply_start"}`,
  complete: `{"@level":"info","@message":"x","hook":{"resource":{"addr":"libvirt_pool.own[0]"},"action":"create","elapsed_seconds":1},"type":"apply_complete"}`,
  diagnostic: `{"@level":"error","@message":"Error: x","diagnostic":{"severity":"error","summary":"storage pool 'kpi' already exists","detail":"","address":"libvirt_pool.own[0]"},"type":"diagnostic"}`,
};

describe("a line of terraform -json", () => {
  test("that matters is typed, any other is let through", () => {
    expect(parseLine(recorded.version)).toEqual({ type: "other" });
    expect(parseLine(recorded.noop)).toEqual({ type: "other" });
    expect(parseLine(recorded.summary)).toEqual({ type: "summary", total: 6 });
    expect(parseLine(recorded.start)).toEqual({ type: "started", address: "libvirt_pool.own[0]", action: "create" });
    expect(parseLine(recorded.diagnostic)).toEqual({
      type: "diagnostic",
      diagnostic: {
        severity: "error",
        summary: "storage pool 'kpi' already exists",
        detail: "",
        address: "libvirt_pool.own[0]",
      },
    });
  });

  test("that is not as documented is a contract error", () => {
    for (const text of [
      "no json",
      "[]",
      `{"type":1}`,
      `{"type":"apply_start"}`,
      `{"type":"diagnostic","diagnostic":{}}`,
    ])
      expect(() => parseLine(text)).toThrow("terraform -json wrote what it does not document");
  });
});

test("a plan's changes keep their reason", () => {
  expect(plannedChanges([recorded.create, recorded.replace, recorded.noop].map(parseLine))).toEqual([
    { address: 'libvirt_domain.node["k3s-cp-01"]', action: "create" },
    { address: 'libvirt_volume.root["k3s-cp-01"]', action: "replace", reason: "replace_by_triggers" },
  ]);
});

test("progress counts what is done, of the total that the plan gave", () => {
  const count = countDone();
  const seen = [recorded.summary, recorded.start, recorded.complete, recorded.summary].map((text) =>
    count.see(parseLine(text)),
  );
  expect(seen).toEqual([
    undefined,
    { what: "create libvirt_pool.own[0]", done: 0, total: 6, unit: "steps" },
    { what: "create libvirt_pool.own[0]", done: 1, total: 6, unit: "steps" },
    undefined,
  ]);
  expect(count.done()).toBe(1);
});

test("outputs are their values", () => {
  expect(parseOutputs(`{"api":{"sensitive":false,"type":"string","value":"https://x:6443"}}`)).toEqual({
    api: "https://x:6443",
  });
  expect(() => parseOutputs(`{"api":{}}`)).toThrow("does not document");
  expect(() => parseOutputs(`warning: {}`)).toThrow("does not document");
});
