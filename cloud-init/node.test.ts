import { afterAll, describe, expect, test } from "bun:test";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { run } from "../harness/tools/exec.ts";

const work = mkdtempSync(join(tmpdir(), "node-sh-"));
afterAll(() => rmSync(work, { recursive: true, force: true }));

/** Where it fetches from. */
const served = pathToFileURL(work).href;
const sha256 = (text: string) => new Bun.CryptoHasher("sha256").update(text).digest("hex");
const payload = { binary: "#!/bin/sh\n", images: "not really an archive" };
for (const [name, text] of Object.entries(payload)) writeFileSync(join(work, name), text);
writeFileSync(join(work, "airgap.tar"), payload.images);

const planned = {
  NODE: "k3s-cp-01",
  ROLE: "server",
  INTERFACE: "eth0",
  MAC: "52:54:00:12:34:56",
  ADDRESS: "192.168.122.10/24",
  GATEWAY: "192.168.122.1",
  RESOLVERS: "192.168.122.1",
  NAMES: "artifacts.kpi.test",
  GATE_SECONDS: "0",
  START_SECONDS: "0",
  VERSION: "v1.34.3+lab1",
  BINARY_URL: `${served}/binary`,
  BINARY_SHA256: sha256(payload.binary),
  IMAGES_URL: `${served}/airgap.tar`,
  IMAGES_SHA256: sha256(payload.images),
};

/** A machine as planned: shell lines, by what they bring about. Each can be left out or replaced. */
const machine = {
  link: `ip link add eth0 address ${planned.MAC} type veth peer name far; ip link set far up; ip link set eth0 up
    until [ "$(cat /sys/class/net/eth0/operstate)" = up ]; do :; done`, // the kernel settles a link's state a moment later
  address: `ip address add ${planned.ADDRESS} dev eth0`,
  route: `ip route add default via ${planned.GATEWAY}`,
  dns: "dnsmasq --conf-file=/dev/null --no-resolv --no-hosts --user=root --pid-file= --listen-address=127.0.0.1 --bind-interfaces --address=/artifacts.kpi.test/192.168.122.1",
};

/** Runs node.sh in network, mount and PID namespaces of its own, below a root of its own. */
async function boot(change: Partial<typeof machine> = {}, settings: Partial<typeof planned> = {}, hosts = "") {
  const root = mkdtempSync(join(work, "root-"));
  for (const dir of ["etc/kpi", "bin"]) mkdirSync(join(root, dir), { recursive: true });
  const env = Object.entries({ ...planned, ...settings }).map(([key, value]) => `${key}='${value}'\n`);
  writeFileSync(join(root, "etc/kpi/node.env"), env.join(""));
  writeFileSync(join(root, "etc/kpi/config.yaml"), 'token: "secretsecretsecret"\n');
  writeFileSync(join(root, "etc/kpi/unit"), "[Service]\n");
  writeFileSync(join(root, "etc/kpi/seeded"), "by cloud-init\n");
  writeFileSync(join(root, "etc/hosts"), `127.0.0.1 localhost\n${hosts}`);
  writeFileSync(join(root, "resolv.conf"), "nameserver 127.0.0.1\n");
  const lines = [
    "mount --make-rprivate / && mount -t sysfs sysfs /sys && ip link set lo up",
    'mount --bind "$ROOT/resolv.conf" /etc/resolv.conf',
    ...Object.values({ ...machine, ...change }),
    // The unit manager is the only stand-in.
    `printf '#!/bin/sh\\necho "$0 $*" >> "$KPI_ROOT/called"\\n' | tee "$ROOT/bin/systemctl" > /dev/null; chmod +x "$ROOT"/bin/*`,
    'PATH=$ROOT/bin:$PATH KPI_ROOT=$ROOT KPI_CONSOLE=$ROOT/console bash "$HERE/node.sh"',
  ];
  writeFileSync(join(root, "console"), "");
  const result = await run(
    "unshare",
    ["--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child=KILL", "sh", "-c", lines.join("\n")],
    { accept: [0, 1], env: { ROOT: root, HERE: import.meta.dir } },
  );
  const kept = join(root, "var/log/kpi/verdict.ndjson");
  const verdicts = (statSync(kept).isFile() ? readFileSync(kept, "utf8") : "")
    .split("\n")
    .flatMap((line) => (line === "" ? [] : [JSON.parse(line)]));
  const installed = ["usr", "etc/rancher", "etc/systemd", "var/lib"].filter((path) => existsSync(join(root, path)));
  return { ...result, verdicts, last: verdicts.at(-1), installed, root };
}

describe("the gate", () => {
  test.concurrent("no interface with the planned name: says which there are", async () => {
    const { code, verdicts, last, installed } = await boot({
      link: "ip link add ens3 address 52:54:00:00:00:99 type veth peer name far",
      address: "",
      route: "",
    });
    expect({ code, steps: verdicts.length, installed }).toEqual({ code: 1, steps: 1, installed: [] });
    expect(last).toMatchObject({ step: "interface", ok: false });
    expect(last.detail).toContain("no interface eth0; there are: ens3 (52:54:00:00:00:99)");
  });

  test.concurrent("another MAC address is another machine", async () => {
    const { last, installed } = await boot({}, { MAC: "52:54:00:00:00:01" });
    expect(last).toMatchObject({ step: "interface", ok: false });
    expect(last.detail).toBe("eth0 has MAC address 52:54:00:12:34:56, planned 52:54:00:00:00:01");
    expect(installed).toEqual([]);
  });

  test.concurrent("no address", async () => {
    const { last, installed } = await boot({ address: "", route: "" });
    expect(last).toMatchObject({ step: "address", ok: false });
    expect(last.detail).toBe("planned 192.168.122.10/24 on eth0 only, found no global IPv4 address");
    expect(installed).toEqual([]);
  });

  test.concurrent("a second address is refused: k3s might bind to it", async () => {
    const { last } = await boot({ address: `${machine.address}; ip address add 192.168.122.77/24 dev eth0` });
    expect(last).toMatchObject({ step: "address", ok: false });
    expect(last.detail).toContain("192.168.122.77/24 on eth0");
  });

  test.concurrent("k3s's own addresses are none that it might bind to: the script can be run again", async () => {
    const [bridge, overlay] = ["ip link add cni0 type bridge", "ip link add flannel.1 type bridge"];
    const own = `${bridge}; ${overlay}; ip address add 10.42.0.1/24 dev cni0; ip address add 10.42.0.0/32 dev flannel.1`;
    const { verdicts } = await boot({ address: `${machine.address}; ${own}` });
    expect(verdicts[1]).toMatchObject({ step: "address", ok: true, detail: "192.168.122.10/24 on eth0" });
  });

  test.concurrent("where no file takes a verdict, the console still does", async () => {
    const { root, code } = await boot({ dns: 'mkdir -p "$ROOT/var/log/kpi/verdict.ndjson"' });
    expect(code).toBe(1);
    expect(readFileSync(join(root, "console"), "utf8")).toMatch(/KPI-VERDICT .*"step":"dns","ok":false/);
  });

  test.concurrent("no default route", async () => {
    const { last, installed } = await boot({ route: "" });
    expect(last).toMatchObject({ step: "route", ok: false });
    expect(last.detail).toBe("planned a default route via 192.168.122.1 on eth0, found none");
    expect(installed).toEqual([]);
  });

  test.concurrent("a dead resolver: names it and the name, and nothing of k3s is on the node", async () => {
    const { code, verdicts, last, installed, root } = await boot({ dns: "" });
    expect(verdicts.map(({ step, ok }) => `${step} ${ok}`)).toEqual([
      "interface true",
      "address true",
      "route true",
      "dns false",
    ]);
    expect(last.detail).toContain("resolver 192.168.122.1 did not answer for artifacts.kpi.test");
    expect({ code, installed }).toEqual({ code: 1, installed: [] });
    // Whoever waits for this file would start the script again, and again, after each failure.
    expect(existsSync(join(root, "etc/kpi/seeded"))).toBe(false);
  });

  test.concurrent("every name counts", async () => {
    const { last } = await boot({}, { NAMES: "artifacts.kpi.test nowhere.kpi.test" });
    expect(last).toMatchObject({ step: "dns", ok: false });
    expect(last.detail).toContain("nowhere.kpi.test");
  });

  test.concurrent("a name in /etc/hosts proves no resolver", async () => {
    const { last } = await boot({ dns: "" }, {}, "192.168.122.1 artifacts.kpi.test\n");
    expect(last).toMatchObject({ step: "dns", ok: false });
    expect(last.detail).toContain("pinned in /etc/hosts");
  });
});

describe("after the gate", () => {
  test.concurrent("a wrong hash: expected and got, and nothing is installed", async () => {
    const { code, last, installed } = await boot({}, { IMAGES_SHA256: "0".repeat(64) });
    expect(last).toMatchObject({ step: "artefact", ok: false });
    expect(last.detail).toBe(
      `images from ${served}/airgap.tar: expected sha256 ${"0".repeat(64)}, got ${sha256(payload.images)}`,
    );
    expect({ code, installed: installed.filter((path) => path !== "var/lib") }).toEqual({ code: 1, installed: [] });
  });

  test.concurrent("installs in order, with the token in one private file and nowhere else", async () => {
    const { root, verdicts, stderr, stdout } = await boot();
    expect(verdicts.map(({ step, ok }) => `${step} ${ok}`).slice(0, 6)).toEqual([
      "interface true",
      "address true",
      "route true",
      "dns true",
      "artefact true",
      "install true",
    ]);
    const look = "grep -rl secretsecret . | sort; stat -c '%a' etc/rancher/k3s/config.yaml";
    const seen = await run("sh", ["-c", look], { cwd: root });
    expect(seen.stdout.split("\n")).toEqual(["./etc/kpi/config.yaml", "./etc/rancher/k3s/config.yaml", "600"]);
    expect(`${stdout}${stderr}`).not.toContain("secretsecret");
    expect(existsSync(join(root, "var/lib/rancher/k3s/agent/images/airgap.tar"))).toBe(true);
    expect(readFileSync(join(root, "called"), "utf8")).toContain("systemctl --quiet --no-reload enable k3s kpi-node");
  });

  test.concurrent(
    "k3s that runs from before is started anew, because what it was started from is replaced",
    async () => {
      const { root, verdicts } = await boot({}, { START_SECONDS: "1" });
      expect(verdicts.find(({ step }) => step === "service")).toMatchObject({ ok: true });
      expect(readFileSync(join(root, "called"), "utf8")).toMatch(/systemctl restart k3s$/m);
    },
  );

  test.concurrent("a transfer that broke off, from a server that cannot go on with it, begins anew", async () => {
    const curl = `#!/bin/sh
      while [ $# -gt 1 ]; do [ "$1" != -o ] || out=$2; shift; done
      [ -e "$KPI_ROOT/asked.\${1##*/}" ] || { : > "$KPI_ROOT/asked.\${1##*/}"; printf half > "$out"; exit 18; }
      [ ! -s "$out" ] || exit 33
      cp "\${1#file://}" "$out"`;
    const { verdicts } = await boot({ dns: `${machine.dns}\ncat > "$ROOT/bin/curl" <<'CURL'\n${curl}\nCURL` });
    expect(verdicts.find(({ step }) => step === "artefact")).toMatchObject({ ok: true });
  });

  test.concurrent("verdicts also go to the console, one line each, with both clocks", async () => {
    const { root, verdicts } = await boot({ dns: "" });
    const shown = readFileSync(join(root, "console"), "utf8")
      .split("\n")
      .filter((line) => line !== "");
    expect(shown).toEqual(verdicts.map(() => expect.stringMatching(/^KPI-VERDICT \{/)));
    expect(verdicts[0].wall).toBeGreaterThan(1.7e9);
    expect(verdicts[0].mono).toBeGreaterThan(0);
  });
});

describe("cloud-init, which waits for it", () => {
  const waited = async (result: number, renderer: "networkd" | "netplan" = "networkd") => {
    const root = mkdtempSync(join(work, "waited-"));
    for (const dir of ["etc/cloud", "etc/kpi", "etc/systemd/network", "run/kpi"])
      mkdirSync(join(root, dir), { recursive: true });
    writeFileSync(join(root, "etc/kpi/node.env"), `MAC=${planned.MAC}\nINTERFACE=eth0\n`);
    if (renderer === "networkd") writeFileSync(join(root, "etc/systemd/network/10-cloud-init-eth0.network"), "");
    writeFileSync(join(root, "run/kpi/result"), `${result}\n`);
    const { code } = await run("bash", [join(import.meta.dir, "node.sh"), "--wait"], {
      env: { KPI_ROOT: root },
      accept: [0, 1],
    });
    const link = join(root, "etc/systemd/network/10-kpi.link");
    const named = existsSync(link) ? readFileSync(link, "utf8") : "";
    return { code, disabled: existsSync(join(root, "etc/cloud/cloud-init.disabled")), named };
  };
  test("does not run again after a first boot that went well, and the interface keeps its name without it", async () =>
    expect(await waited(0)).toEqual({
      ...{ code: 0, disabled: true },
      named: `[Match]\nMACAddress=${planned.MAC}\n\n[Link]\nName=eth0\n`,
    }));
  test("leaves the name to netplan where that has it", async () =>
    expect(await waited(0, "netplan")).toEqual({ code: 0, disabled: true, named: "" }));
  test("runs again after one that failed, and is told so", async () =>
    expect(await waited(1)).toEqual({ code: 1, disabled: false, named: "" }));
});
