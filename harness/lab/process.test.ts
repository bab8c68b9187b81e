import { describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { notYet, until } from "../core/deadline.ts";
import { milliseconds, seconds } from "../core/duration.ts";
import { start } from "../tools/exec.ts";
import { findInit, holdNamespaces, identify, isSame, labMarker, labOf, processesIn } from "./process.ts";

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

  // Two labs that end and start at once: without the handles some number is given again in a few milliseconds.
  test("namespaces that are held keep their numbers after their processes, and no later lab has one", async () => {
    const first = await namespaced();
    using held = holdNamespaces(first.identity);
    expect(held, "handles of a living init").toBeDefined();
    await first.end();
    expect(holdNamespaces(first.identity), "handles of one that has ended").toBeUndefined();
    for (let round = 0; round < 5; round += 1) {
      const later = await namespaced();
      expect(processesIn(first.identity)).toEqual([]);
      await later.end();
    }
  });
});

/** A process that is PID 1 of namespaces of its own. */
async function namespaced() {
  const unshare = start("unshare", ["--mount", "--net", "--pid", "--fork", "--kill-child=KILL", "sleep", "60"]);
  const identity = await until(
    "unshare made a child",
    seconds(5),
    () => {
      const pid = Number(readFileSync(`/proc/${unshare.pid}/task/${unshare.pid}/children`, "utf8"));
      return (pid > 0 ? identify(pid) : undefined) ?? notYet("no child");
    },
    { every: milliseconds(2) },
  );
  return {
    identity,
    async end() {
      process.kill(identity.pid, "SIGKILL");
      await unshare.done.catch(() => {}); // it ends by the signal that it was sent
    },
  };
}
