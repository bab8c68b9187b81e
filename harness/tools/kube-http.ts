import { KpiError } from "../core/errors.ts";
import type { KubeAccess } from "./kubeconfig.ts";

export interface ApiRequest {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal?: AbortSignal;
}

/** A whole answer, whatever its status. */
export interface ApiAnswer {
  readonly ok: boolean;
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/**
 * The API server could not be reached or is not ready to answer: trying again may help. Every other failure is a
 * `KpiError` and final.
 */
export class ApiAway extends Error {}

/** Speaks HTTPS to one API server with exactly its CA and our certificate, through its proxy if it has one. */
export class ApiTransport {
  constructor(readonly access: KubeAccess) {}

  /**
   * One request, whatever its status, as soon as its answer begins. Throws `ApiAway` when nothing answered, and a `host` error when the
   * wrong one did.
   */
  async send(path: string, request: ApiRequest = {}): Promise<Response> {
    return this.reaching(request, () => this.fetch(path, request));
  }

  /** The same with its whole answer, which may break off as well. */
  async ask(path: string, request: ApiRequest = {}): Promise<ApiAnswer> {
    return this.reaching(request, async () => {
      const response = await this.fetch(path, request);
      const { ok, status, headers } = response;
      return { ok, status, headers, text: await response.text() };
    });
  }

  /** The JSON of a request that must succeed. 429 and 5xx count as away, since a starting API server answers so. */
  async json<T>(path: string, request: ApiRequest = {}): Promise<T> {
    const { ok, status, text } = await this.ask(path, request);
    if (ok) return JSON.parse(text) as T;
    throw this.refused(status, path, text);
  }

  private async reaching<T>({ signal }: ApiRequest, work: () => Promise<T>): Promise<T> {
    signal?.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof KpiError) throw error;
      throw this.explain(error as Error & { code?: string });
    }
  }

  private async fetch(path: string, { method = "GET", headers, body, signal }: ApiRequest): Promise<Response> {
    const { server, ca, cert, key, proxyUrl } = this.access;
    // Bun's own fetch: client-node's goes through undici, whose dispatcher Bun ignores, and with it the certificates.
    const response = await fetch(new URL(path, server), {
      method,
      tls: { ca, rejectUnauthorized: true, ...(cert === undefined || key === undefined ? {} : { cert, key }) },
      ...(proxyUrl === undefined ? {} : { proxy: proxyUrl }),
      ...(headers === undefined ? {} : { headers }),
      ...(body === undefined ? {} : { body }),
      ...(signal === undefined ? {} : { signal }),
    });
    if (response.status === 407) throw this.proxyRefused();
    return response;
  }

  /** The error of a response that is no success. */
  refused(status: number, path: string, text: string): ApiAway | KpiError {
    const message = statusMessage(text);
    if (status === 429 || status >= 500) return new ApiAway(`the API answers ${status}: ${message}`);
    return new KpiError(
      status === 401 || status === 403 ? "host" : "contract",
      `the API at ${this.access.server} answers ${status} to ${path.split("?")[0]}`,
      { got: message },
    );
  }

  private explain(error: Error & { code?: string }): ApiAway | KpiError {
    const code = error.code ?? "";
    if (/CERT|SELF_SIGNED|UNABLE_TO_VERIFY|ALTNAME|ISSUER/.test(code) || /certificate/i.test(error.message)) {
      return new KpiError("host", `the API at ${this.access.server} is not the one this cluster's CA vouches for`, {
        got: `${code} ${error.message}`.trim(),
        hint: "the kubeconfig belongs to another cluster, or another machine answers at this address",
        cause: error,
      });
    }
    if (/proxy.*407|407.*proxy|ProxyAuth/i.test(`${code} ${error.message}`)) return this.proxyRefused();
    return new ApiAway(code === "ECONNREFUSED" ? "the connection is refused" : error.message || code);
  }

  private proxyRefused(): KpiError {
    const proxy = new URL(this.access.proxyUrl ?? "http://none");
    return new KpiError("host", `the proxy at ${proxy.host} refused its user name or password`, {
      hint: "the proxy belongs to another lab than the kubeconfig",
    });
  }
}

/** What a Kubernetes Status object says, or the start of any other answer. */
function statusMessage(text: string): string {
  try {
    const { message } = JSON.parse(text) as { message?: unknown };
    if (typeof message === "string") return message;
  } catch {
    // plain text, as from healthz
  }
  return text.trim().slice(0, 200);
}
