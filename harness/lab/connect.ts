import { createHash, timingSafeEqual } from "node:crypto";
import { contains, type Network } from "../core/address.ts";
import { basicAuthorization } from "../tools/tunnel.ts";

/** Who may pass the proxy, and where to. */
export interface ProxyRules {
  readonly user: string;
  readonly secret: string;
  readonly network: Network;
}

/** What the proxy does with a request: dial, or answer with a status and close. */
export type Verdict =
  | { readonly kind: "dial"; readonly host: string; readonly port: number }
  | { readonly kind: "refuse"; readonly status: 400 | 403 | 405 | 407; readonly why: string };

/** A request's head may be this long, in bytes. */
export const longestHead = 8 * 1024;

/** Judges the head of a request (up to its empty line). Authorisation is looked at first: a stranger learns nothing else. */
export function judge(head: string, rules: ProxyRules): Verdict {
  const [requestLine = "", ...headers] = head.split("\r\n");
  const words = requestLine.split(" ");
  if (words.length !== 3 || !/^HTTP\/1\.[01]$/.test(words[2] ?? "")) return refuse(400, "this is no HTTP request");
  const given = headers
    .filter((line) => /^proxy-authorization:/i.test(line))
    .map((line) => line.slice(line.indexOf(":") + 1).trim());
  if (given.length !== 1 || !isAuthorised(given[0] ?? "", rules))
    return refuse(407, "user name and secret of this lab are required");
  if (words[0] !== "CONNECT") return refuse(405, "only CONNECT is served");
  const target = /^([0-9.]+):([0-9]{1,5})$/.exec(words[1] ?? "");
  const [host, port] = [target?.[1] ?? "", Number(target?.[2] ?? 0)];
  if (!contains(rules.network, host) || port < 1 || port > 65_535)
    return refuse(403, `only addresses in ${rules.network.cidr} are served`);
  return { kind: "dial", host, port };
}

/** Compares digests, so that neither content nor length of the secret shows in the time it takes. */
function isAuthorised(given: string, { user, secret }: ProxyRules): boolean {
  const digest = (text: string) => createHash("sha256").update(text).digest();
  const [scheme = "", token = ""] = given.split(/ +/);
  return timingSafeEqual(
    digest(`${scheme.toLowerCase()} ${token}`),
    digest(basicAuthorization(user, secret).replace("Basic", "basic")),
  );
}

/** The bytes of an answer that ends the connection. */
export function refusal(status: number, why: string): string {
  const reasons: Record<number, string> = {
    400: "Bad Request",
    403: "Forbidden",
    405: "Method Not Allowed",
    407: "Proxy Authentication Required",
    502: "Bad Gateway",
  };
  const challenge = status === 407 ? 'Proxy-Authenticate: Basic realm="kpi lab"\r\n' : "";
  return `HTTP/1.1 ${status} ${reasons[status] ?? "Error"}\r\n${challenge}Connection: close\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(why) + 1}\r\n\r\n${why}\n`;
}

function refuse(status: 400 | 403 | 405 | 407, why: string): Verdict {
  return { kind: "refuse", status, why };
}
