import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { projectRoot } from "../core/paths.ts";
import { start } from "../tools/exec.ts";

/** A process whose work is interrupted and never comes to an end. */
const program = `
const { interruptible } = await import(${JSON.stringify(`${projectRoot}/harness/run/interrupt.ts`)});
setInterval(() => {}, 1_000);
await interruptible((signal) => {
  signal.addEventListener("abort", () => console.log(signal.reason.what));
  console.log("at work");
  return Promise.withResolvers().promise;
});`;

test("signals that follow each other at once are one wish; a later one ends the process at once, with 130", async () => {
  const told = { "at work": Promise.withResolvers<void>(), "interrupted by SIGINT": Promise.withResolvers<void>() };
  const { pid, done } = start(process.execPath, ["-e", program], {
    accept: [130],
    onLine: (line) => told[line as keyof typeof told]?.resolve(),
  });
  await told["at work"].promise;
  process.kill(pid, "SIGINT");
  await told["interrupted by SIGINT"].promise;
  process.kill(pid, "SIGTERM");
  await Bun.sleep(1_100); // the time is what is tested
  process.kill(pid, "SIGTERM"); // throws when it has ended
  const { stdout, stderr } = await done;
  expect(stdout.split("\n")).toEqual(["at work", "interrupted by SIGINT"]);
  expect(stderr).toContain("once more to leave at once");
});

test.each([
  [[], "SIGHUP", 0],
  [["nohup"], "SIGINT", 1],
] as const)("started by %p, work is ended by %s", async (by, ending, ignored) => {
  const [command = "", ...args] = [...by, process.execPath, "-e", program];
  const told = {
    "at work": Promise.withResolvers<void>(),
    [`interrupted by ${ending}`]: Promise.withResolvers<void>(),
  };
  const { pid, done } = start(command, args, { onLine: (line) => told[line as keyof typeof told]?.resolve() });
  await told["at work"].promise;
  const [, last] = /^SigIgn:\s+\w*(\w)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  expect(Number.parseInt(last ?? "", 16) & 1, "SIGHUP is ignored").toBe(ignored);
  process.kill(pid, ending);
  await told[`interrupted by ${ending}`]?.promise;
  process.kill(pid, "SIGKILL");
  await done.catch(() => {});
});

test("when nobody reads what it prints any more, work is told to end, once, and comes to its end", async () => {
  const printing = `
    const { endWithReader, interruptible } = await import(${JSON.stringify(`${projectRoot}/harness/run/interrupt.ts`)});
    endWithReader();
    await interruptible(async (signal) => {
      const told = Promise.withResolvers();
      signal.addEventListener("abort", told.resolve);
      const telling = setInterval(() => process.stdout.write("so far\\n"), 20);
      await told.promise;
      await Bun.sleep(1_200); // unmaking takes its time, and prints as well: no second wish
      clearInterval(telling);
      process.stderr.write(signal.reason.what);
      process.exit(130);
    });`;
  const script = '"$0" -e "$1" | head -n 1; echo "${PIPESTATUS[0]}"';
  const { stdout, stderr } = await start("bash", ["-c", script, process.execPath, printing]).done;
  expect(stdout).toBe("so far\n130");
  expect(stderr).toEndWith("interrupted by SIGTERM");
});
