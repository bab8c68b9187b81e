import { expect, useCluster } from "../harness/kit.ts";

const cluster = useCluster("specs/lab.yaml");
/** What every node's, or every door's, answer must be. */
const everywhere = <T>(names: readonly { name: string }[], value: T) =>
  Object.fromEntries(names.map(({ name }) => [name, value]));

cluster.expects("access", "the API answers the operator's certificate", ({ seen }) => {
  expect(seen.api.operator, "status for the operator").toBe(200);
});

cluster.expects("access", "the API refuses whoever has no certificate", ({ seen }) => {
  expect([401, 403], "status without a certificate").toContain(seen.api.anonymous);
});

cluster.expects("access", "the API refuses a certificate of another authority", ({ seen }) => {
  expect(seen.api.foreignCertificate, "status for a foreign certificate").toBe(401);
});

cluster.expects("access", "a client that trusts another authority refuses the API", ({ seen }) => {
  expect(seen.api.otherCa).toStartWith("refused: ");
  expect(seen.api.otherCa).toContain("CA");
});

cluster.expects("access", "the operator is cluster-admin by the groups in the certificate", ({ seen }) => {
  expect(seen.rbac.operatorGroups, "groups").toContain("system:masters");
  expect(seen.rbac.operatorMayAll, "may do everything").toBe(true);
});

cluster.expects("access", "RBAC is on: a pod's default account may list neither secrets nor nodes", ({ seen }) => {
  const { podMayListSecrets, podMayListNodes, anonymousMayListPods } = seen.rbac;
  expect({ podMayListSecrets, podMayListNodes, anonymousMayListPods }).toEqual({
    podMayListSecrets: false,
    podMayListNodes: false,
    anonymousMayListPods: false,
  });
});

cluster.expects("access", "every kubelet refuses the anonymous and a made-up token", ({ seen, plan }) => {
  expect(seen.kubelet, "status by node").toEqual(everywhere(plan.nodes, { anonymous: 401, token: 401 }));
});

cluster.expects("access", "ssh offers keys only: no password, not even interactively", ({ seen, plan }) => {
  const offered = Object.fromEntries(Object.entries(seen.ssh).map(([name, door]) => [name, door.offered]));
  expect(offered, "methods offered").toEqual(everywhere(plan.nodes, ["publickey"]));
  const passwords = Object.fromEntries(Object.entries(seen.ssh).map(([name, door]) => [name, door.password]));
  expect(passwords, "a password").toEqual(everywhere(plan.nodes, "refused"));
});

cluster.expects("access", "ssh takes the operator's key", ({ seen, plan }) => {
  const taken = Object.fromEntries(Object.entries(seen.ssh).map(([name, { operator }]) => [name, operator]));
  expect(taken, "the operator's key").toEqual(everywhere(plan.nodes, "accepted"));
});

cluster.expects("access", "ssh refuses another key", ({ seen, plan }) => {
  const taken = Object.fromEntries(Object.entries(seen.ssh).map(([name, { otherKey }]) => [name, otherKey]));
  expect(taken, "another key").toEqual(everywhere(plan.nodes, "refused"));
});

cluster.expects("access", "ssh refuses root, even with the operator's key", ({ seen, plan }) => {
  const taken = Object.fromEntries(Object.entries(seen.ssh).map(([name, { root }]) => [name, root]));
  expect(taken, "root").toEqual(everywhere(plan.nodes, "refused"));
});

cluster.expects("access", "ssh refuses any other user, even with the operator's key", ({ seen, plan }) => {
  const taken = Object.fromEntries(Object.entries(seen.ssh).map(([name, { otherUser }]) => [name, otherUser]));
  expect(taken, "another user").toEqual(everywhere(plan.nodes, "refused"));
});

cluster.eachNode("machine", "sshd is configured so: keys yes, passwords and root no", ({ seen }) => {
  const { pubkeyauthentication, passwordauthentication, kbdinteractiveauthentication, permitrootlogin } = seen.sshd;
  expect({ pubkeyauthentication, passwordauthentication, kbdinteractiveauthentication, permitrootlogin }).toEqual({
    pubkeyauthentication: "yes",
    passwordauthentication: "no",
    kbdinteractiveauthentication: "no",
    permitrootlogin: "no",
  });
});

cluster.eachNode("machine", "one user, who has no password; nobody else can log in", ({ seen, plan }) => {
  const login = seen.users.filter(({ id, shell }) => id >= 1000 && id < 65_534 && !/(nologin|false)$/.test(shell));
  expect(
    login.map(({ name }) => name),
    "users with a shell",
  ).toEqual([plan.user]);
  expect(
    seen.users.filter(({ password }) => password !== "locked"),
    "users whose password is not locked",
  ).toEqual([]);
});

cluster.eachNode("machine", "one key, the operator's, for the one user", ({ seen, all, plan }) => {
  expect(seen.authorizedKeys, "keys in all files that sshd looks into").toEqual([
    { file: `/home/${plan.user}/.ssh/authorized_keys`, key: all.operatorKey },
  ]);
});

cluster.expects("access", "the kubeconfig is for its owner only and points to the control plane", ({ seen, plan }) => {
  expect(seen.kubeconfig).toEqual({ mode: "600", server: plan.k3s.server });
});

cluster.eachNode("install", "what holds the token on a node is for root only", ({ seen }) => {
  const secret = seen.files.filter(({ path }) => /(config\.yaml|k3s\.yaml|node\.env|token|\/cloud\/.*)$/.test(path));
  const names = secret.map(({ path }) => path.replace(/^\/var\/lib\/cloud\/.*\//, ""));
  // cloud-init keeps what it was told, with the token in it.
  const wanted = ["/etc/rancher/k3s/config.yaml", "/etc/kpi/config.yaml", "/etc/kpi/node.env", "user-data.txt"];
  expect(
    wanted.filter((name) => !names.includes(name)),
    "files that were not looked at",
  ).toEqual([]);
  expect(
    secret.filter(({ mode, owner }) => !/^[46]00$/.test(mode) || owner !== "root"),
    "files that others may read",
  ).toEqual([]);
});
