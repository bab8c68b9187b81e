import { afterAll, expect, test } from "bun:test";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { mayConfine, run } from "./exec.ts";
import { configurationOf, variablesPath } from "./terraform-files.ts";
import { Terraform } from "./terraform.ts";

const scratch = realpathSync(mkdtempSync(join(tmpdir(), "kpi-terraform-test-")));
afterAll(() => rmSync(scratch, { recursive: true }));

/** What Terraform would be called with, from a program that writes it down and does nothing. */
async function called(dir: string, how: (program: string) => Promise<unknown>): Promise<readonly string[]> {
  const program = join(scratch, "terraform");
  writeFileSync(program, `#!/bin/sh\nprintf '%s\\n' "$1" "$PWD" "$TMPDIR" > '${scratch}/called'\n`);
  chmodSync(program, 0o755);
  mkdirSync(dir, { recursive: true });
  await how(program);
  return readFileSync(join(scratch, "called"), "utf8").trim().split("\n");
}

const settings = (command: string, dir: string) => ({ command, dir, cliConfig: "", log: join(dir, "log") });

test("a provider's socket has room, however long the path of a cluster is", async () => {
  const dir = join(scratch, "c".repeat(90), "terraform");
  const [name, cwd = "", temporary = ""] = await called(dir, (program) => new Terraform(settings(program, dir)).init());
  expect([name, cwd]).toEqual(["init", configurationOf(dir)]);
  expect(resolve(cwd, temporary)).toBe(join(dir, "tmp"));
  expect(join(temporary, "plugin4294967295").length).toBeLessThan(108);
});

// With the right to read what root has, and none to make namespaces.
test.skipIf(!mayConfine)("somebody else than root runs it, too", async () => {
  const dir = join(scratch, "theirs");
  const [name] = await called(dir, (program) => {
    const source = `
      const { Terraform } = await import("${import.meta.dir}/terraform.ts");
      if (process.getuid() === 0) throw new Error("still root");
      await new Terraform(${JSON.stringify(settings(program, dir))}).init();`;
    const rights = ["--inh-caps", "+dac_override", "--ambient-caps", "+dac_override"];
    const person = ["--reuid", "65534", "--regid", "65534", "--clear-groups", ...rights];
    return run("setpriv", [...person, "--", process.execPath, "-e", source]);
  });
  expect(name).toBe("init");
});

test("what is spoilt is named, and is not the same as what was never made", () => {
  const dir = join(scratch, "spoilt");
  expect(() => Terraform.reopen(dir)).toThrow("no terraform was prepared");
  mkdirSync(configurationOf(dir), { recursive: true });
  writeFileSync(join(dir, "settings.json"), JSON.stringify({ command: "terraform" }));
  const variables = variablesPath(configurationOf(dir));
  writeFileSync(variables, "{");
  expect(() => Terraform.reopen(dir)).toThrow(`${variables} cannot be read`);
});
