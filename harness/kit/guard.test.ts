import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { projectRoot } from "../core/paths.ts";
import { mayConfine, run } from "../tools/exec.ts";
import { askApi, changes, lasting } from "./guard.ts";

test("what a spec changed is named, and nothing else", () => {
  const before = { nodes: "a b", "a: boot": "1", "b: units": "Id=k3s-agent.service NRestarts=0" };
  expect(changes(before, { ...before })).toEqual([]);
  expect(changes(before, { ...before, nodes: "a", "a: boot": "2" })).toEqual([
    "nodes: b became nothing",
    "a: boot: 1 became 2",
  ]);
  expect(changes(before, { nodes: "a b", "a: boot": "1" })[0]).toContain("became nothing");
});

test("another boot and other processes do not last; a unit that is gone, an account or an address does", () => {
  const before = {
    nodes: "a b",
    "a: boot": "1",
    "a: units": "k3s:12 ssh:7 ssh:9",
    "a: accounts and configuration": "/etc/passwd:1:2:3",
    "a: network": "eth0:10.0.0.1/24",
  };
  const changed = (after: object) => changes(lasting(before), lasting({ ...before, ...after }));
  expect(changed({ "a: boot": "2", "a: units": "k3s:500 ssh:8 ssh:10" })).toEqual([]);
  expect(changed({ "a: units": "ssh:8 ssh:10" })).toEqual(["a: units: k3s became nothing"]);
  expect(changed({ "a: accounts and configuration": "/etc/passwd:4:2:5" })).toHaveLength(1);
  expect(changed({ "a: network": "eth0:10.0.0.1/24 eth0:10.0.0.9/24" })).toHaveLength(1);
  expect(changed({ nodes: "a" })).toHaveLength(1);
});

test("objects of every kind that specs forget, node labels, the default storage class; looks' own namespaces are left out", async () => {
  const object = (name: string, more: object = {}) => ({ metadata: { name, ...more } });
  const answers: Record<string, unknown[]> = {
    "/api/v1/nodes": [{ ...object("a", { labels: { zone: "1" } }), spec: { unschedulable: true } }],
    "/api/v1/namespaces": [object("kpi-spec-1"), object("default")],
    "/api/v1/pods": [
      object("web", { namespace: "kpi-spec-1" }),
      object("web", { namespace: "b" }),
      object("helper-pod-delete-pvc-1", { namespace: "kube-system" }),
    ],
    "/api/v1/services": [object("s", { namespace: "b" })],
    "/apis/storage.k8s.io/v1/storageclasses": [
      object("local", { annotations: { "storageclass.kubernetes.io/is-default-class": "true" } }),
    ],
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings": [object("y"), object("x")],
  };
  const request = async (path: string) => ({ status: 200, text: JSON.stringify({ items: answers[path] ?? null }) });
  expect(await askApi({ request })).toEqual({
    nodes: "a (cordoned)",
    labels: "a:zone=1",
    namespaces: "default",
    pods: "b/web",
    services: "b/s",
    "volume claims": "",
    "storage classes": "local (default)",
    "cluster roles": "",
    "cluster role bindings": "x y",
  });
});

test.skipIf(!mayConfine)(
  "a node's fingerprint tells of an address, a route, an MTU and a name; of nothing else it is the same",
  async () => {
    const script = readFileSync(join(projectRoot, "harness", "tools", "fingerprint.sh"), "utf8");
    const setup = [
      "mount -t sysfs sysfs /sys; ip link add eth7 type veth peer name eth8",
      "ip link set eth7 up; ip link set eth8 up; ip address add 10.9.9.1/24 dev eth7",
    ].join("\n");
    /** In namespaces of their own; each change after another look. */
    const input = [setup, "", "ip address add 10.9.9.2/24 dev eth7", "ip route add 10.8.0.0/16 via 10.9.9.9"]
      .concat(["ip link set eth7 mtu 1400", "ip link add veth7 type veth peer name veth8", "hostname kpi-other"])
      .map((change) => `${change}\n${script}\necho @@\n`)
      .join("");
    const { stdout } = await run("unshare", ["--net", "--uts", "--mount", "sh", "-s"], { input });
    const looks = stdout.split(/@@\n?/).map((text) => text.split("\n"));
    const differ = looks.slice(1, -1).map((lines, index) => {
      const [was, is] = [looks[index] ?? [], lines];
      return changes(Object.fromEntries(was.entries()), Object.fromEntries(is.entries())).map((line) =>
        line.replace(/^\d: /, ""),
      );
    });
    expect(differ).toEqual([
      [],
      ["nothing became eth7:10.9.9.2/24"],
      ["nothing became 10.8.0.0/16_via_10.9.9.9_dev_eth7"],
      ["eth7:mtu:1500 became eth7:mtu:1400"],
      [],
      [expect.stringMatching(/became kpi-other$/)],
    ]);
  },
);
