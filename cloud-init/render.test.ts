import { afterAll, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../harness/tools/exec.ts";

const work = mkdtempSync(join(tmpdir(), "render-"));
afterAll(() => rmSync(work, { recursive: true, force: true }));
const terraform = Bun.which("terraform") ?? Bun.which("tofu") ?? "terraform";

const token = "a1b2c3d4e5f6a7b8c9d0e1f2";
const hostKey = {
  private: "-----BEGIN OPENSSH PRIVATE KEY-----\nbm90IGEga2V5\n-----END OPENSSH PRIVATE KEY-----\n",
  public: "ssh-ed25519 AAAAC3Nz k3s-cp-01",
};
const variables = {
  network: {
    cidr: "192.168.122.0/24",
    gateway: "192.168.122.1",
    dns: ["8.8.8.8", "1.1.1.1"],
    interface: "eth0",
    required_names: ["github.com"],
  },
  nodes: {
    "k3s-cp-01": { role: "server", address: "192.168.122.10", mac: "52:54:00:12:34:56" },
    "k3s-worker-01": { role: "agent", address: "192.168.122.11", mac: "52:54:00:00:00:11" },
  },
  k3s: {
    version: "v1.34.3+k3s1",
    binary_url: "https://github.com/k3s-io/k3s/releases/download/v1.34.3%2Bk3s1/k3s",
    binary_sha256: "0".repeat(64),
    images_url: "https://github.com/k3s-io/k3s/releases/download/v1.34.3%2Bk3s1/k3s-airgap-images-amd64.tar.zst",
    images_sha256: "1".repeat(64),
    disable: ["traefik"],
  },
  authorized_keys: ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5 me"],
  token,
  host_keys: { "k3s-cp-01": hostKey },
};

interface Documents {
  readonly user_data: string;
  readonly meta_data: string;
  readonly network_config: string;
}
interface UserData {
  readonly users: readonly Record<string, unknown>[];
  readonly write_files: readonly { path: string; permissions: string; content: string; encoding?: string }[];
  readonly [key: string]: unknown;
}

/** What the module renders, asked of Terraform's console: no state, no provider. */
async function render(change: object = {}): Promise<Record<string, Documents>> {
  const file = join(work, `${Bun.hash(JSON.stringify(change))}.tfvars.json`);
  writeFileSync(file, JSON.stringify({ ...variables, ...change }));
  const { stdout } = await run(
    terraform,
    [`-chdir=${import.meta.dir}`, "console", `-var-file=${file}`, `-state=${file}.tfstate`],
    {
      input:
        "nonsensitive(jsonencode({user_data = local.user_data, meta_data = local.meta_data, network_config = local.network_config}))",
      env: { TF_DATA_DIR: work, TF_CLI_CONFIG_FILE: "/dev/null", CHECKPOINT_DISABLE: "1" },
    },
  );
  const by = JSON.parse(JSON.parse(stdout)) as Record<keyof Documents, Record<string, string>>;
  const of = (kind: keyof Documents, name: string) => by[kind][name] ?? "";
  return Object.fromEntries(
    Object.keys(by.user_data).map((name) => [
      name,
      {
        user_data: of("user_data", name),
        meta_data: of("meta_data", name),
        network_config: of("network_config", name),
      },
    ]),
  );
}

const [documents, otherToken] = await Promise.all([render(), render({ token: `${token}0` })]);
const server = documents["k3s-cp-01"] as Documents;
const agent = documents["k3s-worker-01"] as Documents;
const yaml = <T>(text: string) => Bun.YAML.parse(text) as T;
const userData = yaml<UserData>(server.user_data);
const written = (data: UserData, path: string) => data.write_files.find((file) => file.path === path);

describe("user data", () => {
  test("one user, by key only, no root, no password", () => {
    expect(userData.users).toEqual([
      expect.objectContaining({
        name: "ubuntu",
        lock_passwd: true,
        sudo: ["ALL=(ALL) NOPASSWD:ALL"],
        ssh_authorized_keys: variables.authorized_keys,
      }),
    ]);
    expect(userData).toMatchObject({ disable_root: true, ssh_pwauth: false, ssh_deletekeys: true });
    expect(server.user_data).not.toMatch(/passwd:(?! true)|password:|chpasswd/);
  });

  test("the host key is delivered; a node without one makes its own, of one kind", () => {
    expect(userData["ssh_keys"]).toEqual({ ed25519_private: hostKey.private, ed25519_public: hostKey.public });
    expect(yaml<UserData>(agent.user_data)["ssh_genkeytypes"]).toEqual(["ed25519"]);
  });

  test("the token is in one file, which only root can read", () => {
    const holders = userData.write_files.filter(({ content }) => content.includes(token));
    expect(holders.map(({ path, permissions }) => `${permissions} ${path}`)).toEqual(["0600 /etc/kpi/config.yaml"]);
    expect(server.user_data.split(token)).toHaveLength(2);
  });

  test("runcmd is one script, which is the node script as it stands", async () => {
    expect(userData["runcmd"]).toEqual([["/bin/bash", "/etc/kpi/node.sh", "--wait"]]);
    const script = written(userData, "/etc/kpi/node.sh");
    expect(script?.encoding).toBe("gz+b64");
    const text = Bun.gunzipSync(Buffer.from(script?.content ?? "", "base64"));
    expect(new TextDecoder().decode(text)).toBe(await Bun.file(join(import.meta.dir, "node.sh")).text());
  });

  test("k3s gets its addresses explicitly; an agent gets the server", () => {
    const config = (data: Documents) =>
      yaml<Record<string, unknown>>(written(yaml<UserData>(data.user_data), "/etc/kpi/config.yaml")?.content ?? "");
    expect(config(server)).toEqual({
      token,
      "node-name": "k3s-cp-01",
      "node-ip": "192.168.122.10",
      "flannel-iface": "eth0",
      "resolv-conf": "/run/systemd/resolve/resolv.conf",
      "tls-san": ["192.168.122.10", "k3s-cp-01"],
      "cluster-cidr": "10.42.0.0/16",
      "service-cidr": "10.43.0.0/16",
      disable: ["traefik"],
      "write-kubeconfig-mode": "0600",
    });
    expect(config(agent)).toMatchObject({ server: "https://192.168.122.10:6443", "node-ip": "192.168.122.11" });
  });
});

test("network: static only, MAC addresses stay texts, routes instead of gateway4", () => {
  expect(yaml<unknown>(server.network_config)).toEqual({
    version: 2,
    ethernets: {
      eth0: {
        match: { macaddress: "52:54:00:12:34:56" },
        "set-name": "eth0",
        dhcp4: false,
        dhcp6: false,
        "accept-ra": false,
        "link-local": [],
        addresses: ["192.168.122.10/24"],
        routes: [{ to: "0.0.0.0/0", via: "192.168.122.1" }],
        nameservers: { addresses: ["8.8.8.8", "1.1.1.1"] },
      },
    },
  });
  // All digits would be a number in base 60 without the quotes.
  expect(agent.network_config).toContain('"52:54:00:00:00:11"');
});

test("another seed is another instance, the same seed the same", () => {
  const id = (data: Record<string, Documents>) =>
    yaml<Record<string, string>>(data["k3s-cp-01"]?.meta_data ?? "")["instance-id"];
  expect(id(documents)).toMatch(/^k3s-cp-01-[0-9a-f]{16}$/);
  expect(id(otherToken)).not.toBe(id(documents));
});
