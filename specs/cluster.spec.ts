import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { minutes, openLab, run, seconds, testKpi, until, notYet } from "../harness/kit.ts";
import { leaksOf } from "./leaks.ts";

setDefaultTimeout(minutes(30));
const kpi = testKpi();
afterAll(() => kpi[Symbol.asyncDispose]());

const names = ["k3s-cp-01", "k3s-worker-01", "k3s-worker-02"];
const addresses = ["192.168.122.10", "192.168.122.11", "192.168.122.12"];
const kubectl = async (...args: string[]) => (await kpi.succeed(["kubectl", ...args])).stdout;
const kubectlJson = async (...args: string[]) => JSON.parse(await kubectl(...args, "-o", "json"));
const apply = (manifest: unknown) => kpi.succeed(["kubectl", "apply", "-f", "-"], { input: JSON.stringify(manifest) });
const onNode = async (node: string, command: string) => (await kpi.succeed(["ssh", node, "--", command])).stdout.trim();
const podOn = (node: string, name: string, extra: object = {}) => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name, labels: { app: name } },
  spec: {
    nodeName: node,
    terminationGracePeriodSeconds: 0,
    containers: [{ name: "main", image: toolImage, imagePullPolicy: "Never", command: ["sleep", "86400"], ...extra }],
  },
});
const toolImage = "kpi.lab/tools:1";

/** Everything that the running harness, its tools and its daemons show in the process list, sampled while `up` runs. */
const commandLines = new Set<string>();

beforeAll(async () => {
  const up = kpi.start(["up", "lab", "--json"]);
  const sampling = (async () => {
    for (;;) {
      for (const pid of readdirSync("/proc").filter((entry) => /^\d+$/.test(entry))) {
        try {
          commandLines.add(readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\0", " "));
          commandLines.add(readFileSync(`/proc/${pid}/environ`, "utf8").replaceAll("\0", " "));
        } catch {} // gone
      }
      if (await Promise.race([up.done.then(() => true), Bun.sleep(300)])) return;
    }
  })();
  const { code, stdout, stderr } = await up.done;
  await sampling;
  if (code !== 0) throw new Error(`kpi up ended with ${code}\n${stderr}\n${stdout.split("\n").slice(-20).join("\n")}`);
});

describe("nodes", () => {
  test("exactly the three names, InternalIPs as planned, kubelets as pinned, all Ready", async () => {
    const { items } = await kubectlJson("get", "nodes");
    const seen = items.map((node: any) => [
      node.metadata.name,
      node.status.addresses.find((address: any) => address.type === "InternalIP").address,
      node.status.nodeInfo.kubeletVersion,
      node.status.conditions.find((condition: any) => condition.type === "Ready").status,
    ]);
    expect(seen.sort()).toEqual(names.map((name, index) => [name, addresses[index], "v1.34.3+lab1", "True"]));
  });

  test("kube-system runs", async () => {
    const { items } = await kubectlJson("get", "pods", "-n", "kube-system");
    expect(items.length).toBeGreaterThan(0);
    for (const pod of items) expect(`${pod.metadata.name} ${pod.status.phase}`).toBe(`${pod.metadata.name} Running`);
  });
});

describe("pods", () => {
  test("a pod on each worker reaches the other over the overlay and resolves kubernetes.default", async () => {
    await apply({
      apiVersion: "v1",
      kind: "List",
      items: [podOn("k3s-worker-01", "one"), podOn("k3s-worker-02", "two")],
    });
    await kubectl("wait", "pod/one", "pod/two", "--for=condition=Ready", "--timeout=120s");
    for (const [from, to] of [
      ["one", "two"],
      ["two", "one"],
    ] as const) {
      const ip = await kubectl("get", "pod", to, "-o", "jsonpath={.status.podIP}");
      expect(await kubectl("exec", from, "--", "ping", "-c", "1", "-W", "10", ip)).toContain("1 packets received");
      expect(await kubectl("exec", from, "--", "nslookup", "kubernetes.default.svc.cluster.local")).toContain(
        "10.43.0.1",
      );
    }
  });

  test("a volume of local-path keeps its data when its pod goes", async () => {
    const claim = {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata: { name: "data" },
      spec: {
        accessModes: ["ReadWriteOnce"],
        storageClassName: "local-path",
        resources: { requests: { storage: "10Mi" } },
      },
    };
    const user = (name: string, command: string) => ({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name },
      spec: {
        restartPolicy: "Never",
        containers: [
          {
            name: "main",
            image: toolImage,
            imagePullPolicy: "Never",
            command: ["sh", "-c", command],
            volumeMounts: [{ name: "data", mountPath: "/data" }],
          },
        ],
        volumes: [{ name: "data", persistentVolumeClaim: { claimName: "data" } }],
      },
    });
    await apply({ apiVersion: "v1", kind: "List", items: [claim, user("writer", "echo kept > /data/file")] });
    await kubectl("wait", "pod/writer", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=120s");
    await kubectl("delete", "pod", "writer");
    await apply(user("reader", "cat /data/file"));
    await kubectl("wait", "pod/reader", "--for=jsonpath={.status.phase}=Succeeded", "--timeout=120s");
    expect(await kubectl("logs", "reader")).toBe("kept");
  });
});

describe("access", () => {
  test("the ssh and kubectl commands that status prints work as they are typed", async () => {
    const { use } = JSON.parse((await kpi.succeed(["status", "--json"])).stdout);
    expect((await run("sh", ["-c", use.kubectl])).stdout).toContain("k3s-worker-02");
    expect((await run("sh", ["-c", `${use.ssh} hostname`])).stdout).toBe("k3s-cp-01");
  });

  test("without the client certificate the API refuses; with another CA the connection fails", async () => {
    const config = join(kpi.state, "kubeconfig");
    await kpi.succeed(["kubeconfig", "--out", config]);
    expect(statSync(config).mode & 0o777).toBe(0o600);
    const text = readFileSync(config, "utf8");
    const bare = join(kpi.state, "no-certificate");
    await Bun.write(bare, text.replace(/^.*client-(certificate|key)-data:.*\n/gm, "").replace(/(user:)\s*$/m, "$1 {}"));
    const anonymous = await run("kubectl", ["--kubeconfig", bare, "--token", "nobody", "get", "nodes"], {
      accept: [1],
    });
    expect(anonymous.stderr).toMatch(/Unauthorized|Forbidden/);
    await run("openssl", [
      "req",
      "-x509",
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:P-256",
      "-nodes",
      "-days",
      "1",
      "-subj",
      "/CN=other",
      "-keyout",
      "/dev/null",
      "-out",
      `${bare}.pem`,
    ]);
    const otherCa = Buffer.from(readFileSync(`${bare}.pem`)).toString("base64");
    await Bun.write(bare, text.replace(/(certificate-authority-data:).*/, `$1 ${otherCa}`));
    const wrong = await run("kubectl", ["--kubeconfig", bare, "get", "nodes"], { accept: [1] });
    expect(wrong.stderr).toMatch(/x509|certificate signed by unknown authority/);
  });
});

describe("secrets", () => {
  test("no token and no private key outside of files for their owner only, nor in any log or process list", () => {
    const dir = join(kpi.state, "clusters", "kpi");
    const token = readFileSync(join(dir, "secrets", "token"), "utf8").trim();
    const keys = readdirSync(join(dir, "secrets")).filter((name) => !name.endsWith(".pub") && name !== "token");
    const bodies = keys.map((name) => readFileSync(join(dir, "secrets", name), "utf8").split("\n")[2] ?? "none");
    const secret = [token, ...bodies];
    const wrong: string[] = [];
    let searched = 0;
    for (const path of new Bun.Glob("**").scanSync({ cwd: kpi.state, absolute: true, dot: true, onlyFiles: true })) {
      const { mode, size } = statSync(path);
      if ((mode & 0o077) === 0 && !path.includes("/runs/")) continue; // may hold secrets, is for its owner
      if (size > 64 * 2 ** 20) throw new Error(`${path} is too large to be searched, and readable by others`);
      const text = readFileSync(path, "latin1");
      searched += 1;
      if (secret.some((value) => text.includes(value))) wrong.push(path);
    }
    expect(searched).toBeGreaterThan(5);
    expect(wrong).toEqual([]);
    expect([...commandLines].filter((line) => secret.some((value) => line.includes(value)))).toEqual([]);
    expect([...commandLines].some((line) => line.includes("qemu-system"))).toBe(true);
  });
});

describe("up again", () => {
  test("on a running, unchanged cluster says so in under 5 s", async () => {
    const { stdout, elapsed } = await kpi.succeed(["up", "lab"]);
    expect(stdout).toContain("is running and unchanged");
    expect(elapsed).toBeLessThan(5_000);
  });

  test("two at once of one cluster: the second is told who is at work", async () => {
    const lab = await openLab(join(kpi.state, "labs", "kpi"));
    expect(lab).toBeDefined();
    const first = kpi.start(["rebuild", "lab"]);
    await until(
      "the first has the lock",
      seconds(20),
      () => existsSync(join(kpi.state, "locks", "kpi.lock")) || notYet("no lock yet"),
    );
    const second = await kpi.run(["up", "lab"]);
    expect(second.code).toBe(1);
    expect(second.stderr).toContain(`another kpi`);
    await first.done;
  });
});

describe("rebuild, down", () => {
  test("the rebuilt cluster has the same plan, addresses and MACs, and fresh machine-ids; no image was built", async () => {
    // The test above rebuilt it while this file's first cluster was running; its record tells what the first one was.
    const runs = readdirSync(join(kpi.state, "runs")).sort();
    const events = (name: string) =>
      readFileSync(join(kpi.state, "runs", name, "events.ndjson"), "utf8")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line));
    const plans = runs.map((name) => events(name)[0].plan);
    expect(new Set(plans).size).toBe(1);
    const status = JSON.parse((await kpi.succeed(["status", "--json"])).stdout);
    const planned = JSON.parse((await kpi.succeed(["plan", "lab", "--json"])).stdout);
    expect(status.nodes.map((node: any) => [node.name, node.address, node.mac])).toEqual(
      planned.nodes.map((node: any) => [node.name, node.address, node.mac]),
    );
    const ids = await Promise.all(names.map((name) => onNode(name, "cat /etc/machine-id")));
    expect(new Set(ids).size).toBe(3);
    expect(existsSync(join(kpi.state, "runs", runs.at(-1) ?? "", "packer.log"))).toBe(false);
  });

  test("down leaves nothing but the image", async () => {
    await kpi.succeed(["down"]);
    expect(await openLab(join(kpi.state, "labs", "kpi"))).toBeUndefined();
    expect(readdirSync(join(kpi.state, "clusters"))).toEqual([]);
    expect(readdirSync(join(kpi.state, "labs"))).toEqual([]);
    expect(leaksOf(kpi)).toEqual([]);
    const images = JSON.parse((await kpi.succeed(["image", "--json"])).stdout);
    expect(JSON.stringify(images)).toContain("k3s-node-debian-13");
  });
});
