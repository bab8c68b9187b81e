import { describe, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { notYet, until } from "../core/deadline.ts";
import { milliseconds, seconds } from "../core/duration.ts";
import { isRefusal, KpiError } from "../core/errors.ts";
import { type EndedCommand, onCommandEnd, run, shellQuote, start } from "./exec.ts";
import { processStart } from "./owner.ts";

const failure = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error as KpiError,
  );

describe("run", () => {
  test("gives output, code and elapsed time", async () => {
    const result = await run("sh", ["-c", "echo out; echo err >&2"]);
    expect(result).toMatchObject({ code: 0, stdout: "out", stderr: "err" });
    expect(result.elapsed).toBeGreaterThan(0);
  });

  test("a failure names the command, its code and its last words", async () => {
    const error = await failure(run("sh", ["-c", "echo it broke >&2; exit 7"]));
    expect(error).toBeInstanceOf(KpiError);
    expect(error).toMatchObject({ kind: "command", what: "sh ended with exit code 7", details: ["it broke"] });
    expect(error?.command).toBe("sh -c 'echo it broke >&2; exit 7'");
  });

  test("a program that does not exist is a command error too", async () => {
    expect((await failure(run("kpi-no-such-program", [])))?.what).toContain("could not be started");
  });

  test("an accepted code is a result", async () => {
    expect((await run("sh", ["-c", "exit 2"], { accept: [0, 2] })).code).toBe(2);
  });

  test("a hanging program ends at its time limit", async () => {
    const error = await failure(run("sleep", ["60"], { timeout: milliseconds(100) }));
    expect(error?.what).toBe("sleep did not end within 100ms");
  });

  test("at the time limit goes, too, what a program has started, in one group with it or not, and nobody waits for it", async () => {
    const limits = { timeout: milliseconds(200), grace: milliseconds(200) };
    for (const [index, script] of ["$0 $1; :", "trap '' TERM; $0 $1; :", "setsid $0 $1 & wait"].entries()) {
      const marker = `6${index}.${process.pid}`;
      const error = await failure(run("bash", ["-c", script, "sleep", marker], limits));
      expect(error?.what).toBe("bash did not end within 200ms");
      const asked = { accept: [0, 1] };
      const stays = script.startsWith("setsid");
      expect((await run(stays ? "pkill" : "pgrep", ["-f", `^sleep ${marker}$`], asked)).code).toBe(stays ? 0 : 1);
    }
  });

  test("what it has left running is not ended by a signal that comes when it is over", async () => {
    const controller = new AbortController();
    const script = "sleep 600 >/dev/null 2>&1 & echo $!";
    const pid = Number((await run("sh", ["-c", script], { signal: controller.signal })).stdout);
    controller.abort();
    await run("true", []);
    expect(processStart(pid)).toBeDefined();
    process.kill(pid, "SIGKILL");
  });

  test("a sparing one is waited for, with what it has started", async () => {
    const lines: string[] = [];
    const limits = { timeout: milliseconds(100), grace: milliseconds(100), sparing: true };
    const onLine = (line: string) => void lines.push(line);
    const error = await failure(run("bash", ["-c", "(sleep 1; echo whole); :"], { ...limits, onLine }));
    expect(error?.what).toBe("bash did not end within 100ms");
    expect(lines).toEqual(["whole"]);
  });

  test("one that ends well because its time is up has not done what it should", async () => {
    const script = "trap 'exit 0' TERM; sleep 60 & wait";
    expect((await failure(run("bash", ["-c", script], { timeout: milliseconds(200) })))?.what).toContain("did not end");
  });

  test("a log that cannot be written is the system's refusal, once the program has ended, unless that failed itself", async () => {
    const dir = mkdtempSync(join(tmpdir(), "exec-"));
    const ended = join(dir, "ended");
    const log = { log: "/dev/full" };
    const error = await failure(run("sh", ["-c", 'echo out; sleep 0.1; echo more; touch "$0"', ended], log));
    expect(isRefusal(error)).toBe(true);
    expect(error?.message).toContain("/dev/full");
    expect(existsSync(ended)).toBe(true);
    rmSync(dir, { recursive: true });
    expect((await failure(run("sh", ["-c", "echo out; exit 7"], log)))?.what).toBe("sh ended with exit code 7");
  });

  test("secrets are hidden in lines, results, errors and logs", async () => {
    const dir = mkdtempSync(join(tmpdir(), "exec-"));
    const log = join(dir, "x.log");
    const lines: string[] = [];
    const error = await failure(
      run("sh", ["-c", "echo tok-123; exit 1"], { secrets: ["tok-123"], log, onLine: (line) => lines.push(line) }),
    );
    expect(lines).toEqual(["***"]);
    expect(readFileSync(log, "utf8")).toBe("***\n");
    expect(`${error?.command} ${error?.details.join()}`).not.toContain("tok-123");
    rmSync(dir, { recursive: true });
  });

  test("an abort ends it with the abort's own reason", async () => {
    const stop = new AbortController();
    const work = failure(run("sleep", ["60"], { signal: stop.signal }));
    stop.abort(new KpiError("interrupted", "stopped by the user"));
    expect((await work)?.kind).toBe("interrupted");
  });
});

describe("start", () => {
  test("stop ends a running program", async () => {
    const sleeping = start("sleep", ["60"]);
    await sleeping.stop();
    expect(() => process.kill(sleeping.pid, 0)).toThrow();
  });

  test("a confined program takes everything it started with it", async () => {
    const marker = `61.${process.pid}`;
    const first = Promise.withResolvers<string>();
    const confined = start("sh", ["-c", `setsid sleep ${marker} & echo ready; wait`], {
      confined: true,
      grace: milliseconds(50),
      onLine: first.resolve,
    });
    await first.promise;
    await confined.stop();
    expect((await run("pgrep", ["-f", `^sleep ${marker}`], { accept: [0, 1] })).stdout).toBe("");
  });
});

test("a tied program dies with the process that started it, however that ends", async () => {
  const first = Promise.withResolvers<string>();
  const program = `
    const { start } = await import("${import.meta.dir}/exec.ts");
    console.log(start("sleep", ["60"], { tied: true }).pid);`;
  const parent = start(process.execPath, ["-e", program], { onLine: first.resolve });
  const pid = Number(await first.promise);
  expect(processStart(pid)).toBeNumber();
  process.kill(parent.pid, "SIGKILL");
  await parent.done.catch(() => {}); // by that signal
  await until("it is gone", seconds(3), () => processStart(pid) === undefined || notYet("it runs"));
});

test("a terminal's signals do not reach a program, and one that runs when we end by ourselves ends, too", async () => {
  const own = readFileSync("/proc/self/stat", "utf8").split(" ");
  const { stdout } = await run("cat", ["/proc/self/stat"]);
  const [pid, group, session] = [0, 4, 5].map((index) => stdout.split(" ")[index]);
  expect([group, session]).toEqual([pid, pid]);
  expect(own[4]).not.toBe(group);
  const program = `
    const { start } = await import("${import.meta.dir}/exec.ts");
    console.log(start("sleep", ["60"]).pid);
    start("kpi-no-such-program", []);
    process.exit();`;
  const sleeping = Number((await run(process.execPath, ["-e", program])).stdout);
  await until("it is gone", seconds(3), () => processStart(sleeping) === undefined || notYet("it runs"));
});

test("a confined program may end in its own way", async () => {
  const said: string[] = [];
  const ready = Promise.withResolvers<void>();
  const onLine = (line: string) => (line === "ready" ? ready.resolve() : said.push(line));
  const confined = start("sh", ["-c", "trap 'echo bye; exit 0' TERM; echo ready; sleep 60 & wait"], {
    confined: true,
    onLine,
  });
  await ready.promise;
  await confined.stop();
  expect(said).toEqual(["bye"]);
});

test("a confined program that reaches its time limit is told to end, and may do so in its own way", async () => {
  const said: string[] = [];
  const script = "trap 'echo bye; exit 1' TERM; echo ready; sleep 60 & wait";
  const limits = { timeout: seconds(1), grace: seconds(20) };
  const onLine = (line: string) => void said.push(line);
  const error = await failure(run("sh", ["-c", script], { ...limits, confined: true, onLine }));
  expect(error?.what).toBe("sh did not end within 1.0s");
  expect(said).toEqual(["ready", "bye"]);
});

test("shellQuote gives one pasteable line", () => {
  expect(shellQuote(["a", "b c", "it's", "x=1"])).toBe(`a 'b c' 'it'\\''s' x=1`);
});

test("whoever listens is told of every program that ended, without its secrets", async () => {
  const told: EndedCommand[] = [];
  {
    using _ = onCommandEnd((ended) => told.push(ended));
    await run("sh", ["-c", "exit 3", "hush it"], { accept: [3], secrets: ["hush"] });
    await run("kpi-no-such-program", []).catch(() => {});
  }
  await run("true", []);
  expect(told.map(({ command, code }) => ({ command, code }))).toEqual([
    { command: "sh -c 'exit 3' '*** it'", code: 3 },
    { command: "kpi-no-such-program", code: undefined },
  ]);
  expect(told[0]?.elapsed).toBeGreaterThan(0);
});
