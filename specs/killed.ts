import { expect } from "bun:test";
import type { TestKpi } from "../harness/kit.ts";

/** Starts a command, kills it with SIGKILL as soon as it says something, reaps; gives what the reaping said. */
export async function killed(kpi: TestKpi, args: readonly string[], at: RegExp): Promise<string> {
  let reached = false;
  const command = await kpi.start(args, {
    onLine(line) {
      if (!reached && at.test(line)) process.kill(command.pid, "SIGKILL");
      reached ||= at.test(line);
    },
  });
  const { code } = await command.done.catch(() => ({ code: 137 }));
  expect(`${reached} ${code}`).toBe("true 137");
  return (await kpi.succeed(["reap"])).stdout;
}
