import { projectRoot } from "../core/paths.ts";
import { type RunningCommand, type RunOptions, start } from "../tools/exec.ts";

/** For tests: runs a program that does not end by itself until it has said a line, with the modules of this project at hand. */
export async function speaking(program: string, options: RunOptions = {}): Promise<RunningCommand> {
  const said = Promise.withResolvers<string>();
  const load = `const load = (path) => import("${projectRoot}/harness/" + path);`;
  const stay = `const { elapse } = await load("core/deadline.ts"); await elapse(3_600_000, new AbortController().signal);`;
  const command = start(process.execPath, ["-e", `${load} ${program} console.log("so far"); ${stay}`], {
    ...options,
    onLine: (line) => said.resolve(line),
  });
  await Promise.race([said.promise, command.done]);
  return command;
}
