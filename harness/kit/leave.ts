import { type KpiError, renderError } from "../core/errors.ts";
import { kpiPaths } from "../core/paths.ts";
import { sayStopping } from "../run/interrupt.ts";
import { declareNoMore, ownEntries } from "../run/journal.ts";
import { reapOwn } from "../run/reap.ts";
import { stopCommands } from "../tools/exec.ts";

/**
 * Ends a bun test that was told to end, with exit code 130. What runs for it is stopped; forks, and what it has made in clusters that
 * go on, are removed. Tests that are still under way make nothing anew; claims are not judged any more.
 */
export async function leave(why: KpiError): Promise<never> {
  const say = (line: string) => process.stderr.write(`kpi: ${line}\n`);
  const { state } = kpiPaths();
  declareNoMore(why);
  if (ownEntries(state).some(({ intent }) => intent.kind !== "path")) sayStopping(why);
  try {
    await stopCommands();
    await reapOwn(state, (what) => say(`removed ${what}`));
  } catch (error) {
    say(`the next command removes the rest: ${renderError(error)}`);
  }
  process.exit(130);
}
