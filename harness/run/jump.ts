import { randomBytes } from "node:crypto";
import type { Socket } from "node:net";
import { parseNetwork } from "../core/address.ts";
import type { Plan } from "../core/plan.ts";
import { createProxy, established } from "../lab/proxy.ts";
import { serve } from "../tools/exec.ts";
import { otherMachine } from "../tools/libvirt-uri.ts";
import type { Proxy } from "../tools/tunnel.ts";

/**
 * The way to nodes that only their hypervisor reaches, when that is another machine: a CONNECT proxy in this process, which has the
 * hypervisor's sshd dial (`ssh -W`). It serves the cluster's network, to who knows its secret, for as long as this process has something
 * else to do. Undefined where the nodes are reached from here.
 */
export async function openJump({ host, network }: Plan): Promise<Proxy | undefined> {
  const machine = otherMachine(host);
  const served = machine === undefined ? undefined : parseNetwork(network.cidr);
  if (machine === undefined || served === undefined) return undefined;
  const [user, secret] = ["kpi", randomBytes(24).toString("base64url")];
  const bySsh = (client: Socket, to: string, port: number, rest: Buffer) => {
    client.write(established); // whether the far end answers shows by itself
    client.unshift(rest);
    serve("ssh", ["-W", `${to}:${port}`, ...machine.ssh], client);
  };
  const server = createProxy({ user, secret, network: served }, () => {}, bySsh);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject).listen(0, "127.0.0.1", resolve);
  await promise;
  server.unref();
  const address = server.address();
  const port = typeof address === "object" ? (address?.port ?? 0) : 0;
  return { host: "127.0.0.1", port, user, secret, secretFile: "" };
}

/** What ssh runs as ProxyCommand to reach such a node; undefined where nodes are reached from here. */
export function jumpCommand({ host }: Plan): readonly string[] | undefined {
  const machine = otherMachine(host);
  return machine === undefined ? undefined : ["ssh", "-W", "[%h]:%p", ...machine.ssh];
}
