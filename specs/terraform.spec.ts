import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { notYet, until } from "../harness/core/deadline.ts";
import { minutes } from "../harness/core/duration.ts";
import { KpiError } from "../harness/core/errors.ts";
import type { Progress } from "../harness/core/event.ts";
import { projectRoot } from "../harness/core/paths.ts";
import { run } from "../harness/tools/exec.ts";
import { Terraform } from "../harness/tools/terraform.ts";

setDefaultTimeout(60_000);
const command = Bun.which("terraform") ?? Bun.which("tofu") ?? "terraform";
const work = mkdtempSync(join(tmpdir(), "kpi-terraform-"));
afterAll(() => rmSync(work, { recursive: true, force: true }));
const failure = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (error: unknown) => error as KpiError,
  );

/** A configuration that needs no provider, so that only what the harness makes of Terraform is tested here. */
function small(name: string, more = "") {
  const source = join(work, name, "source");
  const dir = join(work, name, "state");
  const main = `
    variable "names" { type = set(string) }
    variable "token" {
      type      = string
      sensitive = true
      validation {
        condition     = length(var.token) > 8
        error_message = "token: expected more than 8 characters."
      }
    }
    resource "terraform_data" "node" {
      for_each         = var.names
      triggers_replace = var.token
    }
    output "names" { value = var.names }
    ${more}
  `;
  rmSync(source, { recursive: true, force: true });
  Bun.spawnSync(["mkdir", "-p", source]);
  writeFileSync(join(source, "main.tf"), main);
  return new Terraform({ command, cliConfig: "", dir, source, log: join(work, `${name}.log`) });
}

describe("Terraform", () => {
  const token = "not-for-anybodys-eyes";
  const terraform = small("cycle");
  const dir = terraform.settings.dir;

  test("applies, says that nothing is left to do, says what a change would do, destroys", async () => {
    const seen: Progress[] = [];
    await terraform.init();
    expect(Terraform.hasState(dir)).toBe(false);
    expect(await terraform.apply({ names: ["a", "b"], token }, { onProgress: (step) => seen.push(step) })).toBe(2);
    expect(seen.at(-1)).toMatchObject({ done: 2, total: 2, unit: "steps" });
    expect(Terraform.hasState(dir)).toBe(true);
    expect(await terraform.outputs()).toEqual({ names: ["a", "b"] });

    expect((await terraform.plan({ names: ["a", "b"], token })).changes).toEqual([]);
    const plan = await terraform.plan({ names: ["b", "c"], token: `${token}-changed` });
    expect(plan.changes.map(({ address, action }) => `${action} ${address}`).sort()).toEqual([
      'create terraform_data.node["c"]',
      'delete terraform_data.node["a"]',
      'replace terraform_data.node["b"]',
    ]);
    await terraform.apply(plan);
    expect(await terraform.outputs()).toEqual({ names: ["b", "c"] });

    // A later process knows how to go on.
    expect(await Terraform.reopen(dir).destroy()).toBe(2);
    expect(Terraform.hasState(dir)).toBe(false);
    expect(await terraform.destroy()).toBe(0);
  });

  test("keeps secrets in files that only their owner can read, and out of the log", async () => {
    const open = [...new Bun.Glob("**/*").scanSync({ cwd: dir, dot: true, onlyFiles: true })]
      .filter((file) => /tfstate|tfvars|plan|settings/.test(file))
      .filter((file) => (statSync(join(dir, file)).mode & 0o077) !== 0);
    expect(open).toEqual([]);
    expect(await Bun.file(join(work, "cycle.log")).text()).not.toContain(token);
  });

  test("a refused variable is one error with the rule's own words", async () => {
    const error = await failure(terraform.apply({ names: [], token: "short" }));
    expect(error).toMatchObject({ kind: "command", what: "terraform apply: Invalid value for variable" });
    expect(error?.details[0]).toBe("token: expected more than 8 characters.");
    expect(JSON.stringify(error)).not.toContain('"short"');
  });

  test("an abort ends it and what it started", async () => {
    const aborted = new KpiError("interrupted", "stopped by the user");
    expect(await failure(terraform.apply({ names: ["a"], token }, { signal: AbortSignal.abort(aborted) }))).toBe(
      aborted,
    );
    const seconds = `3600.${process.pid}`;
    const waiting = small(
      "waiting",
      `resource "terraform_data" "waiting" {
        provisioner "local-exec" {
          command = "exec sleep ${seconds}"
        }
      }`,
    );
    const sleeping = async () => (await run("pgrep", ["-f", `^sleep ${seconds}`], { accept: [0, 1] })).stdout;
    await waiting.init();
    const stop = new AbortController();
    const applying = failure(waiting.apply({ names: [], token }, { signal: stop.signal }));
    await until("it has started something", minutes(1), async () => (await sleeping()) || notYet("nothing runs"));
    stop.abort(aborted);
    expect(await applying).toBe(aborted);
    expect(await sleeping(), "what it started").toBe("");
  });

  test("without a provider it says what is missing", async () => {
    const lacking = new Terraform({
      command,
      cliConfig: `provider_installation {\n  filesystem_mirror { path = "${work}" }\n}\n`,
      dir: join(work, "lacking"),
      log: join(work, "lacking.log"),
    });
    expect(await failure(lacking.init())).toMatchObject({
      kind: "supply",
      what: "terraform cannot get the libvirt provider",
    });
  });

  test("writes nothing into the checkout", () => {
    for (const name of ["terraform-libvirt", "cloud-init"])
      expect(readdirSync(join(projectRoot, name)).filter((file) => /^\.terraform|tfstate/.test(file))).toEqual([]);
  });
});

describe("the configuration", () => {
  test("is formatted", async () => {
    for (const name of ["terraform-libvirt", "cloud-init"])
      await run(command, ["fmt", "-check", "-diff", join(projectRoot, name)], {
        env: { TF_CLI_CONFIG_FILE: "/dev/null" },
      });
  });

  test("refuses what a node could not become, each rule by its name", async () => {
    const good = {
      network: {
        cidr: "10.0.0.0/24",
        gateway: "10.0.0.1",
        dns: ["10.0.0.1"],
        required_names: ["x.test"],
      },
      nodes: { a: { role: "server", address: "10.0.0.2", mac: "52:54:00:00:00:02" } },
      k3s: {
        version: "v1.34.3+k3s1",
        binary_url: "https://x.test/k3s",
        binary_sha256: "0".repeat(64),
        images_url: "https://x.test/images.tar",
        images_sha256: "0".repeat(64),
      },
      authorized_keys: ["ssh-ed25519 AAAA me"],
      token: "0123456789abcdef",
    };
    const node = good.nodes.a;
    const bad: Record<string, object> = {
      "network.cidr: expected": { network: { ...good.network, cidr: "10.0.0.0" } },
      "without host bits, such as 192": { network: { ...good.network, cidr: "10.0.0.1/24" } },
      "network.gateway: expected": { network: { ...good.network, gateway: "fe80::1" } },
      "inside network.cidr, such as": { network: { ...good.network, gateway: "10.0.1.1" } },
      "network.dns: expected": { network: { ...good.network, dns: [] } },
      "each an IPv4 address": { network: { ...good.network, dns: ["2001:db8::1"] } },
      "network.interface: expected": { network: { ...good.network, interface: "Ethernet 1" } },
      "network.required_names: expected": { network: { ...good.network, required_names: [] } },
      'exactly one node with role "server"': { nodes: { a: { ...node, role: "agent" } } },
      "inside network.cidr": { nodes: { a: { ...node, address: "10.0.1.2" } } },
      "first or the last address": { nodes: { a: { ...node, address: "10.0.0.255" } } },
      "addresses must differ": { nodes: { a: { ...node, address: "10.0.0.1" } } },
      "mac must be": { nodes: { a: { ...node, mac: "53:54:00:00:00:02" } } },
      "k3s.version: expected": { k3s: { ...good.k3s, version: "stable" } },
      "without host bits, such as 10.42": { k3s: { ...good.k3s, pod_cidr: "fd00::/64" } },
      "64 hex digits": { k3s: { ...good.k3s, binary_sha256: "abc" } },
      "k3s.images_url: expected": { k3s: { ...good.k3s, images_url: "https://x.test/images" } },
      "user: expected": { user: "root" },
      "authorized_keys: expected": { authorized_keys: ["-----BEGIN OPENSSH PRIVATE KEY-----"] },
      "token: expected": { token: "short" },
      "host_keys: expected": { host_keys: { a: { private: "x", public: "y" } } },
    };
    const errors = await Promise.all(
      [{}, ...Object.values(bad)].map(async (change, index) => {
        const file = join(work, `bad-${index}.tfvars.json`);
        writeFileSync(file, JSON.stringify({ ...good, ...change }));
        const chdir = `-chdir=${join(projectRoot, "cloud-init")}`;
        const args = [chdir, "plan", "-no-color", "-lock=false", `-state=${work}/none`, `-var-file=${file}`];
        const env = { TF_DATA_DIR: join(work, "data"), TF_CLI_CONFIG_FILE: "/dev/null" };
        return (await run(command, args, { env, accept: [0, 1] })).stderr.replace(/\s+/g, " ");
      }),
    );
    const wrong = Object.keys(bad).filter((rule, index) => !(errors[index + 1] ?? "").includes(rule));
    expect({ good: errors[0], wrong }).toEqual({ good: "", wrong: [] });
  });
});
