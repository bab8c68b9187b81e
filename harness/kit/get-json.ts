import { until } from "../core/deadline.ts";
import { seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import type { Kube } from "../tools/kube.ts";

/** A request's headers, where they are not the usual ones. */
interface GetOptions {
  readonly headers?: Readonly<Record<string, string>>;
}

/** What the API answers to a GET. Throws a `contract` error for every status but 200, and a `deadline` error after 30 s. */
export async function getJson<T>(
  kube: Pick<Kube, "request">,
  path: string,
  { headers = {} }: GetOptions = {},
): Promise<T> {
  const ask = (signal: AbortSignal) => kube.request(path, { headers, signal });
  const { status, text } = await until(`the API did not answer to ${path}`, seconds(30), ask);
  if (status !== 200)
    throw new KpiError("contract", `the API answers ${status} to ${path}`, { got: text.slice(0, 200) });
  return JSON.parse(text) as T;
}
