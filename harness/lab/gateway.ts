import { readFileSync } from "node:fs";
import { parseNetwork } from "../core/address.ts";
import { KpiError, renderError } from "../core/errors.ts";
import { writeWhole } from "../tools/whole-file.ts";
import { serveFile } from "./files.ts";
import { labLayout } from "./layout.ts";
import { inNetwork } from "./netns.ts";
import type { LabRecord } from "./config.ts";
import { createProxy } from "./proxy.ts";

/**
 * The process between host and guests, started by init.sh as `gateway.ts DIR DESCRIPTOR`. For the host it listens on
 * loopback of the host's network (DESCRIPTOR is an open file of that namespace) and dials guests from the lab's; for
 * guests it serves files at port 80 of the gateway.
 */
async function gateway(dir: string, hostNetwork: number): Promise<void> {
  const layout = labLayout(dir);
  const { network, files, user } = JSON.parse(readFileSync(layout.options, "utf8")) as LabRecord;
  const parsed = parseNetwork(network.cidr);
  if (parsed === undefined)
    throw new KpiError("spec", "gateway: the network's cidr is malformed", { got: network.cidr });
  const secret = readFileSync(layout.secret, "utf8").trim();
  const log = (line: string) => console.log(`${new Date().toISOString()} ${line}`);

  Bun.serve({
    hostname: "0.0.0.0",
    port: 80,
    idleTimeout: 0,
    fetch(request, server) {
      const response = serveFile(request, files);
      log(
        `http: ${server.requestIP(request)?.address} ${request.method} ${new URL(request.url).pathname} ${response.status}`,
      );
      return response;
    },
  });
  const proxy = createProxy({ user, secret, network: parsed }, log);
  await inNetwork(hostNetwork, () => {
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    proxy.once("error", reject).listen(0, "127.0.0.1", 512, resolve);
    return promise;
  });
  const address = proxy.address();
  const port = typeof address === "object" ? address?.port : undefined;
  writeWhole(layout.gateway, JSON.stringify({ port }));
}

await gateway(process.argv[2] ?? "", Number(process.argv[3])).catch((error: unknown) => {
  console.error(renderError(error));
  process.exit(1);
});
