import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { labPrograms } from "./prepare.ts";

test("whatever init.sh calls is looked for before a lab is made", () => {
  const script = readFileSync(join(import.meta.dir, "init.sh"), "utf8");
  const called = [...script.matchAll(/^ *(?:exec )?([a-z]+) [^=]/gm)].map(([, word = ""]) => word);
  const everyday = ["set", "umask", "cd", "exec", "for", "if", "declare", "wait", "echo", "mkdir", "mknod", "ln"];
  const wanted = new Set(called.filter((word) => !everyday.includes(word)));
  expect([...wanted].filter((word) => !(word in labPrograms))).toEqual([]);
  expect([...wanted].sort()).toEqual(["dnsmasq", "ebtables", "ip", "libvirtd", "mount", "unshare"]);
});
