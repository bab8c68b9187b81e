import { describe, expect, test } from "bun:test";
import { KpiError } from "../core/errors.ts";
import { checkLabDir, isCovered, labLayout } from "./layout.ts";

const refusal = (dir: string): KpiError | undefined => {
  try {
    checkLabDir(dir);
    return undefined;
  } catch (error) {
    return error as KpiError;
  }
};

describe("a lab's directory", () => {
  test("is <state>/labs/<name>", () => {
    expect(refusal("/root/.local/state/kpi/labs/kpi")).toBeUndefined();
    for (const dir of [
      "/",
      "/root",
      "labs/kpi",
      "/root/labs",
      "/root/labs/..",
      "/root/labs/A",
      "/root/labs/-x",
      "/root/labs/kpi/etc",
    ]) {
      expect(refusal(dir)?.what).toContain("not a lab's directory");
    }
  });

  test("is short enough for a socket, and the hint says by how much it is not", () => {
    const fits = `/${"s".repeat(107 - "//labs/kpi/run/libvirt-sock".length)}/labs/kpi`;
    expect(Buffer.byteLength(labLayout(fits).socket)).toBe(107);
    expect(refusal(fits)).toBeUndefined();
    expect(refusal(`/12${fits}`)?.hint).toContain("3 characters shorter");
  });

  test("is not where the lab mounts something else", () => {
    expect(refusal("/run/kpi/labs/kpi")?.what).toContain("hidden from itself");
    expect([isCovered("/running"), isCovered("/var/lib/libvirt/images/x"), isCovered("/etc/libvirt")]).toEqual([
      false,
      true,
      true,
    ]);
  });
});
