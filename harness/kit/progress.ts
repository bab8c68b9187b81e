import { elapse } from "../core/deadline.ts";
import { seconds } from "../core/duration.ts";
import { progressMark } from "../run/bun-output.ts";

/** What takes less is not worth a line. */
const patience = seconds(2);

/** Tells what is going on, on standard error: bun itself says nothing until a test has ended. */
export function tell(what: string): void {
  process.stderr.write(`${progressMark}${what}\n`);
}

/** Tells what is being waited for if it takes longer than two seconds. Disposed of when it is over. */
export function waitingFor(what: string): Disposable {
  const over = new AbortController();
  elapse(patience, over.signal).then(
    () => tell(what),
    () => {}, // it is over
  );
  return { [Symbol.dispose]: () => over.abort() };
}
