import { chmodSync } from "node:fs";
import type { Round } from "../../harness/kit/breakage.ts";
import type { ForkedCluster } from "../../harness/kit/scenario.ts";
import type { Manifest } from "../../harness/tools/kube.ts";
import { background, kill, server, worker, worker2 } from "./how.ts";

const sshd = "sshd is configured so: keys yes, passwords and root no";
const oneKey = "one key, the operator's, for the one user";
const users = "one user, who has no password; nobody else can log in";
const operator = "ssh takes the operator's key";

/**
 * A line that comes before those of the node's own configuration, so that it counts. sshd is started anew, which is over when it listens
 * again; told to reload, it closes its door for a moment that nobody hears of.
 */
const dropIn = (lines: string) => ({
  how: `printf '${lines}\\n' > /etc/ssh/sshd_config.d/00-kpi-broken.conf; systemctl restart ssh`,
  heal: "rm /etc/ssh/sshd_config.d/00-kpi-broken.conf; systemctl restart ssh",
});

/** A role for everybody in a group, by the cluster's own RBAC. */
function binding(name: string, role: string, group: string) {
  const object: Manifest = {
    apiVersion: "rbac.authorization.k8s.io/v1",
    kind: "ClusterRoleBinding",
    metadata: { name },
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: role },
    subjects: [{ apiGroup: "rbac.authorization.k8s.io", kind: "Group", name: group }],
  };
  return {
    how: ({ kube }: ForkedCluster) => kube.apply([object]),
    heal: ({ kube }: ForkedCluster) => kube.delete([object]),
  };
}

const keyOf = "/home/ubuntu/.ssh/authorized_keys";

/** What knocking at the doors from outside must notice. */
export const doorRounds: readonly Round[] = [
  {
    looks: ["machine", "access"],
    breakages: [
      {
        what: "ssh takes passwords",
        on: worker,
        ...dropIn("PasswordAuthentication yes"),
        kills: {
          [sshd]: /"passwordauthentication": "yes"/,
          "ssh offers keys only: no password, not even interactively": /k3s-worker-01[^]*"password"/,
        },
      },
      {
        what: "root may log in, with the operator's key",
        on: worker2,
        how: `mkdir -p -m 700 /root/.ssh; cp ${keyOf} /root/.ssh/; ${dropIn("PermitRootLogin prohibit-password").how}`,
        heal: `rm /root/.ssh/authorized_keys; ${dropIn("").heal}`,
        kills: {
          [sshd]: /"permitrootlogin": "(without|prohibit)-password"/,
          [oneKey]: /\/root\/\.ssh\/authorized_keys/,
          "ssh refuses root, even with the operator's key": /k3s-worker-02": "accepted"/,
        },
      },
      {
        what: "another user, with a shell and the operator's key",
        on: server,
        how: `useradd --create-home --shell /bin/bash admin; mkdir -m 700 ~admin/.ssh
          cp ${keyOf} ~admin/.ssh/; chown -R admin: ~admin/.ssh`,
        heal: "userdel --force --remove admin 2> /dev/null || ! id admin",
        kills: {
          [users]: /admin/,
          [oneKey]: /\/home\/admin\/\.ssh\/authorized_keys/,
          "ssh refuses any other user, even with the operator's key": /k3s-cp-01": "accepted"/,
        },
      },
      {
        what: "pods' default account may read secrets",
        on: server,
        ...binding("kpi-broken-pods", "cluster-admin", "system:serviceaccounts:default"),
        kills: {
          "RBAC is on: a pod's default account may list neither secrets nor nodes": /"podMayListSecrets": true/,
        },
      },
    ],
  },
  {
    looks: ["machine", "access"],
    breakages: [
      {
        what: "ssh takes any key",
        on: worker,
        ...dropIn("AuthorizedKeysCommand /usr/bin/echo %%t %%k\\nAuthorizedKeysCommandUser nobody"),
        kills: {
          "ssh refuses another key": /k3s-worker-01": "accepted"/,
          [operator]: /k3s-worker-01": "not tried/, // the other key was let in before
        },
      },
      {
        what: "another key beside the operator's, in the second file that sshd looks into",
        on: server,
        how: `echo ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMbp8aL other > ${keyOf}2`,
        heal: `rm ${keyOf}2`,
        kills: { [oneKey]: /authorized_keys2/ },
      },
      {
        what: "another key beside the operator's",
        on: worker2,
        how: `cp -a ${keyOf} /run/kpi-broken-keys; echo ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMbp8aL other >> ${keyOf}`,
        heal: `cat /run/kpi-broken-keys > ${keyOf}; rm /run/kpi-broken-keys`,
        kills: { [oneKey]: /keys in all files[^]*AAAAC3NzaC1lZDI1NTE5AAAAIMbp8aL/ },
      },
      {
        what: "something that answers everybody at the kubelet's port",
        on: worker2,
        how: `cd /run; openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=x \\
            -keyout kpi-broken.pem -out kpi-broken.crt 2> /dev/null; cat kpi-broken.crt >> kpi-broken.pem
          printf 'HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\n{}' > kpi-broken.http
          ${background("kubelet", "socat OPENSSL-LISTEN:20250,reuseaddr,fork,verify=0,cert=kpi-broken.pem SYSTEM:'read request; cat kpi-broken.http'")}
          iptables -t nat -I PREROUTING -p tcp --dport 10250 -j REDIRECT --to-ports 20250
          until ss -Hlnt 'sport = :20250' | grep -q .; do sleep 0.1; done`,
        heal: `iptables -t nat -D PREROUTING -p tcp --dport 10250 -j REDIRECT --to-ports 20250
          ${kill("kubelet")}; rm /run/kpi-broken.pem /run/kpi-broken.crt /run/kpi-broken.http`,
        kills: {
          "every kubelet refuses the anonymous and a made-up token": /k3s-worker-02[^]*\+\s+"anonymous": 200/,
        },
      },
      {
        what: "whoever has no certificate may read everything",
        on: server,
        ...binding("kpi-broken-anonymous", "cluster-admin", "system:unauthenticated"),
        kills: {
          "the API refuses whoever has no certificate": /200/,
          "RBAC is on: a pod's default account may list neither secrets nor nodes": /"anonymousMayListPods": true/,
        },
      },
      {
        what: "everybody on this machine may read the kubeconfig",
        on: server,
        how: async ({ running }) => chmodSync(running.access.kubeconfigPath, 0o644),
        heal: async ({ running }) => chmodSync(running.access.kubeconfigPath, 0o600),
        kills: {
          "the kubeconfig is for its owner only and points to the control plane": /"mode": "644"/,
        },
      },
    ],
  },
  {
    looks: ["machine", "access"],
    breakages: [
      {
        what: "ssh does not know the operator's key any more",
        on: worker,
        ...dropIn("AuthorizedKeysFile none"),
        kills: { [operator]: /k3s-worker-01": "refused"/, [oneKey]: /-\s+"file": "\/home\/ubuntu/ },
      },
    ],
  },
];
