import { describe, expect, test } from "bun:test";
import { findInit, identify, isSame, labMarker, labOf, processesIn } from "./process.ts";

describe("a lab in the process list", () => {
  test("is our script followed by its marker, whatever runs it", () => {
    const script = "/work/kpi/harness/lab/init.sh";
    expect(labOf(["/bin/bash", script, labMarker("/s/labs/a"), "bun"])).toBe("/s/labs/a");
    expect(labOf(["unshare", "--net", "--", "bash", script, labMarker("/s/labs/a")])).toBe("/s/labs/a");
    expect(labOf(["grep", labMarker("/s/labs/a")])).toBeUndefined();
    expect(labOf(["vim", script, "/s/labs/a"])).toBeUndefined();
    expect(labOf([])).toBeUndefined();
  });

  test("an identity is more than a pid", () => {
    const me = identify(process.pid);
    if (me === undefined) throw new Error("this process does not exist");
    expect(isSame(me)).toBe(true);
    expect(isSame({ ...me, start: me.start + 1 })).toBe(false);
    expect(isSame({ ...me, namespaces: { ...me.namespaces, net: "net:[1]" } })).toBe(false);
  });

  test("nothing in our own namespaces ever counts as a lab's", () => {
    const me = identify(process.pid);
    expect(me === undefined ? undefined : processesIn(me)).toEqual([]);
    expect(findInit("/nowhere/labs/none")).toBeUndefined();
  });
});
