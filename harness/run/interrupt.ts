import { KpiError } from "../core/errors.ts";

/**
 * Runs work that ends itself on Ctrl-C or SIGTERM: the first one aborts the signal, and the work unmakes what it made; a
 * second one ends the process at once, and the next command reaps.
 */
export async function interruptible<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const stop = new AbortController();
  const onSignal = (name: NodeJS.Signals) => {
    if (stop.signal.aborted) process.exit(130);
    process.stderr.write(`kpi: ${name}: stopping and removing what was made; once more to leave at once\n`);
    stop.abort(new KpiError("interrupted", `interrupted by ${name}`));
  };
  process.on("SIGINT", onSignal).on("SIGTERM", onSignal).on("SIGHUP", onSignal);
  try {
    return await work(stop.signal);
  } finally {
    process.off("SIGINT", onSignal).off("SIGTERM", onSignal).off("SIGHUP", onSignal);
  }
}
