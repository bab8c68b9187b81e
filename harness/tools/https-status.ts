import { seconds } from "../core/duration.ts";

/** How an address is asked that may well refuse. `cert` and `key` are PEM; the key, the token and the proxy's user info are secret. */
export interface StatusOptions {
  readonly proxy?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly token?: string;
}

/** HTTP status of a GET over a connection of its own (an older one might lead to somebody else), whoever answers; where no answer came, why, in one word. Whether the server is the right one is not asked. */
export async function requestStatus(url: string, options: StatusOptions = {}): Promise<number | string> {
  const { proxy, cert, key, token } = options;
  try {
    const response = await fetch(url, {
      tls: { rejectUnauthorized: false, ...(cert === undefined || key === undefined ? {} : { cert, key }) },
      signal: AbortSignal.timeout(seconds(30)),
      redirect: "manual",
      keepalive: false,
      ...(proxy === undefined ? {} : { proxy }),
      ...(token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }),
    });
    await response.arrayBuffer();
    return response.status;
  } catch (error) {
    const { code, name, message } = error as { code?: string; name?: string; message?: string };
    return code ?? name ?? message ?? "failed";
  }
}
