import type { Host } from "../core/plan.ts";
import { shellQuote } from "./exec.ts";

/** The machine behind a libvirt URI, as ssh is told it. */
export interface RemoteMachine {
  /** `user@machine`, or the machine alone. */
  readonly name: string;
  /** ssh's arguments for it, the last one its name: non-interactive, with the URI's port and key file. */
  readonly ssh: readonly string[];
  /** What a person types after `ssh` for it. */
  readonly typed: string;
}

/**
 * The other machine that a URI such as `qemu+ssh://user@machine:2222/system?keyfile=PATH` leads to (libvirt.org/uri.html); undefined where it
 * is this one. Its host key is verified by what the user's ssh knows.
 */
export function remoteMachine(uri: string): RemoteMachine | undefined {
  const { hostname, username, port, searchParams } = new URL(uri);
  if (hostname === "") return undefined;
  const name = username === "" ? hostname : `${decodeURIComponent(username)}@${hostname}`;
  const keyFile = searchParams.get("keyfile");
  const words = [...(port === "" ? [] : ["-p", port]), ...(keyFile === null ? [] : ["-i", keyFile]), name];
  return { name, ssh: ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", ...words], typed: shellQuote(words) };
}

/** The other machine that a host is; undefined for a lab, and where libvirt runs on this one. */
export const otherMachine = (host: Host): RemoteMachine | undefined =>
  host.kind === "libvirt" ? remoteMachine(host.uri) : undefined;
