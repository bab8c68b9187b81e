import { describe, expect, test } from "bun:test";
import { parseNetwork } from "../core/address.ts";
import { basicAuthorization } from "../tools/tunnel.ts";
import { judge, type ProxyRules, refusal } from "./connect.ts";

const network = parseNetwork("192.168.122.0/24");
if (network === undefined) throw new Error("unreachable");
const rules: ProxyRules = { user: "kpi", secret: "s3cret", network };
const head = (target: string, ...headers: string[]) => [`CONNECT ${target} HTTP/1.1`, ...headers].join("\r\n");
const pass = `Proxy-Authorization: ${basicAuthorization("kpi", "s3cret")}`;
const status = (text: string) => {
  const verdict = judge(text, rules);
  return verdict.kind === "dial" ? 200 : verdict.status;
};

describe("the proxy's judgement", () => {
  test("the right secret and a guest's address: dial", () => {
    expect(judge(head("192.168.122.10:6443", "Host: x", pass), rules)).toEqual({
      kind: "dial",
      host: "192.168.122.10",
      port: 6443,
    });
    expect(
      status(head("192.168.122.10:22", pass.replace("Proxy-Authorization: Basic", "proxy-authorization:   basic "))),
    ).toBe(200);
  });

  test.each([
    ["no secret", []],
    ["another secret", [`Proxy-Authorization: ${basicAuthorization("kpi", "s3cres")}`]],
    ["another user", [`Proxy-Authorization: ${basicAuthorization("root", "s3cret")}`]],
    ["half the secret", [`Proxy-Authorization: ${basicAuthorization("kpi", "s3c")}`]],
    ["another scheme", [`Proxy-Authorization: Bearer s3cret`]],
    ["twice", [pass, pass]],
    ["authorisation for the far end", [pass.replace("Proxy-", "")]],
  ])("%s: 407", (_what, headers) => {
    expect(status(head("192.168.122.10:22", ...headers))).toBe(407);
  });

  test.each([
    "10.0.0.1:22",
    "127.0.0.1:22",
    "192.168.123.1:22",
    "k3s-cp-01:22",
    "192.168.122.10:0",
    "192.168.122.10:70000",
    "192.168.122.10",
    "[::1]:22",
    "0xc0a87a0a:22",
    "192.168.122.010:22",
  ])("%s is not for it: 403", (target) => {
    expect(status(head(target, pass))).toBe(403);
  });

  test("a stranger learns nothing else than 407", () => {
    expect(status("GET http://192.168.122.10/ HTTP/1.1")).toBe(407);
    expect(status(head("10.0.0.1:22"))).toBe(407);
  });

  test("other methods and no HTTP at all", () => {
    expect(status(`GET http://192.168.122.10/ HTTP/1.1\r\n${pass}`)).toBe(405);
    expect(status("SSH-2.0-OpenSSH_9.2")).toBe(400);
    expect(status("")).toBe(400);
  });

  test("a refusal says how to do better and ends the connection", () => {
    expect(refusal(407, "no")).toMatch(
      /^HTTP\/1\.1 407 [^]*Proxy-Authenticate: Basic [^]*Connection: close\r\n[^]*\r\n\r\nno\n$/,
    );
  });
});
