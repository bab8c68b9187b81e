import { expect, test } from "bun:test";
import { createServer } from "node:http";
import { join } from "node:path";
import { proxyFor } from "./environment.ts";
import { run } from "./exec.ts";

const proxies = { http_proxy: "http://proxy:1", HTTPS_PROXY: "proxy:2" };

test.each([
  ["http://example.com/", {}, "http://proxy:1"],
  ["https://example.com/", {}, "http://proxy:2"],
  ["https://example.com/", { https_proxy: "http://small:3" }, "http://small:3"],
  ["https://example.com/", { HTTPS_PROXY: "", all_proxy: "http://all:4" }, "http://all:4"],
  ["http://localhost:80/", {}, undefined],
  ["http://127.1.2.3/", {}, undefined],
  ["http://[::1]:8080/", {}, undefined],
  ["http://example.com/", { NO_PROXY: "*" }, undefined],
  ["http://example.com/", { no_proxy: "other.org, example.com" }, undefined],
  ["http://a.b.Example.com/", { no_proxy: ".example.com" }, undefined],
  ["http://a.example.com/", { no_proxy: "*.example.com" }, undefined],
  ["http://notexample.com/", { no_proxy: "example.com" }, "http://proxy:1"],
  ["http://example.com/", { no_proxy: "example.com:8080" }, "http://proxy:1"],
  ["http://example.com:8080/", { no_proxy: "example.com:8080" }, undefined],
  ["https://10.1.2.3/", { no_proxy: "10.0.0.0/8" }, undefined],
  ["https://11.1.2.3/", { no_proxy: "10.0.0.0/8,11.1.2.4," }, "http://proxy:2"],
])("the proxy for %s with %j", (url, more, wanted) => {
  expect(proxyFor(new URL(url), { ...proxies, ...more })).toBe(wanted);
});

test("without variables there is none", () => {
  expect(proxyFor(new URL("https://example.com/"), {})).toBeUndefined();
});

/** What another process prints that was started with these variables, too. It warns of nothing. */
async function startedWith(env: Record<string, string>, program: string): Promise<string> {
  const script = `const { run } = await import("${join(import.meta.dir, "exec.ts")}"); ${program}`;
  const { stdout, stderr } = await run(process.execPath, ["-e", script], { env });
  expect(stderr).toBe("");
  return stdout;
}

test("what is asked by us goes by the proxy that it is told, or none, whatever the user says of others", async () => {
  const server = createServer((request, response) => response.end(request.url)).listen(0, "127.0.0.1");
  const { port } = server.address() as { readonly port: number };
  try {
    const asks = `const ask = async (options) => (await fetch("http://127.0.0.1:${port}/x", options)).text();`;
    const dead = "http://127.0.0.1:9";
    const direct = await startedWith({ HTTP_PROXY: dead, http_proxy: dead }, `${asks} console.log(await ask({}))`);
    expect(direct).toBe("/x");
    const told = `${asks} console.log(await ask({ proxy: "http://127.0.0.1:${port}" }))`;
    expect(await startedWith({ NO_PROXY: "*" }, told)).toBe(`http://127.0.0.1:${port}/x`);
  } finally {
    server.close();
  }
});

test("programs read the user's proxies, and neither his language, colours nor what is meant for other work", async () => {
  const env = {
    ...{
      HTTPS_PROXY: "http://proxy:1",
      LANG: "de_DE.UTF-8",
      LC_MESSAGES: "de_DE.UTF-8",
      FORCE_COLOR: "1",
      NO_COLOR: "1",
      CLAUDECODE: "1",
      AGENT: "1",
    },
    ...{ TF_LOG_PROVIDER: "debug", TF_WORKSPACE: "other", PACKER_CONFIG: "/other", PATH: "/usr/bin:/bin" },
  };
  const lines = (await startedWith(env, `console.log((await run("env", [])).stdout)`)).split("\n");
  expect(
    lines.filter((line) => /^(HTTPS_PROXY|LC_|FORCE_COLOR|TF_|PACKER_|PATH|CLAUDE|AGENT)/.test(line)).sort(),
  ).toEqual([
    "HTTPS_PROXY=http://proxy:1",
    "LC_ALL=C.UTF-8",
    "PATH=/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin:/usr/local/go/bin",
  ]);
});
