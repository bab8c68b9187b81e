import { mutant } from "../../harness/kit/teeth.ts";

const worker = "k3s-worker-01";
const sshd = "sshd is configured so: keys yes, passwords and root no";
const users = "one user, who has no password; nobody else can log in";
const keys = "ssh offers keys only: no password, not even interactively";
const rbac = "RBAC is on: a pod's default account may list neither secrets nor nodes";
const kubelet = "every kubelet refuses the anonymous and a made-up token";
const admin = "the operator is cluster-admin by the groups in the certificate";
const config = "the kubeconfig is for its owner only and points to the control plane";

export const mutants = [
  mutant(
    "access",
    "the API refuses the operator",
    { "the API answers the operator's certificate": /status for the operator[^]*401/ },
    (seen) => {
      seen.api.operator = 401;
    },
  ),
  mutant("access", "the API answers the anonymous", { "the API refuses whoever has no certificate": /200/ }, (seen) => {
    seen.api.anonymous = 200;
  }),
  mutant(
    "access",
    "the API takes anybody's certificate",
    { "the API refuses a certificate of another authority": /200/ },
    (seen) => {
      seen.api.foreignCertificate = 200;
    },
  ),
  mutant(
    "access",
    "the client takes anybody's API",
    { "a client that trusts another authority refuses the API": /answered 200/ },
    (seen) => {
      seen.api.otherCa = "answered 200";
    },
  ),
  mutant(
    "access",
    "the API was away rather than untrusted",
    { "a client that trusts another authority refuses the API": /does not answer/ },
    (seen) => {
      seen.api.otherCa = "refused: the API does not answer";
    },
  ),
  mutant("access", "the operator is in no group of admins", { [admin]: /system:masters/ }, (seen) => {
    seen.rbac.operatorGroups = ["system:authenticated"];
  }),
  mutant("access", "the operator may not do everything", { [admin]: /may do everything/ }, (seen) => {
    seen.rbac.operatorMayAll = false;
  }),
  mutant("access", "pods may read secrets", { [rbac]: /"podMayListSecrets": true/ }, (seen) => {
    seen.rbac.podMayListSecrets = true;
  }),
  mutant("access", "pods may list nodes", { [rbac]: /"podMayListNodes": true/ }, (seen) => {
    seen.rbac.podMayListNodes = true;
  }),
  mutant("access", "the anonymous may list pods", { [rbac]: /"anonymousMayListPods": true/ }, (seen) => {
    seen.rbac.anonymousMayListPods = true;
  }),
  mutant("access", "a kubelet answers the anonymous", { [kubelet]: /k3s-worker-01[^]*"anonymous": 200/ }, (seen) => {
    seen.kubelet[worker]!.anonymous = 200;
  }),
  mutant("access", "a kubelet takes any token", { [kubelet]: /"token": 200/ }, (seen) => {
    seen.kubelet[worker]!.token = 200;
  }),
  mutant("access", "a kubelet was not reached, so nothing is proven", { [kubelet]: /ConnectionRefused/ }, (seen) => {
    seen.kubelet[worker]!.anonymous = "ConnectionRefused";
  }),
  mutant("access", "a node was forgotten", { [kubelet]: /k3s-worker-01/ }, (seen) => {
    delete seen.kubelet[worker];
  }),
  mutant("access", "ssh offers passwords", { [keys]: /k3s-worker-01[^]*"password"/ }, (seen) => {
    seen.ssh[worker]!.offered.push("password");
  }),
  mutant("access", "ssh takes a password", { [keys]: /a password[^]*accepted/ }, (seen) => {
    seen.ssh[worker]!.password = "accepted";
  }),
  mutant("access", "ssh refuses the operator", { "ssh takes the operator's key": /refused/ }, (seen) => {
    seen.ssh[worker]!.operator = "refused";
  }),
  mutant("access", "ssh takes another key", { "ssh refuses another key": /k3s-worker-01": "accepted/ }, (seen) => {
    seen.ssh[worker]!.otherKey = "accepted";
  }),
  mutant(
    "access",
    "root may log in",
    { "ssh refuses root, even with the operator's key": /k3s-worker-01": "accepted/ },
    (seen) => {
      seen.ssh[worker]!.root = "accepted";
    },
  ),
  mutant(
    "access",
    "another user may log in",
    { "ssh refuses any other user, even with the operator's key": /accepted/ },
    (seen) => {
      seen.ssh[worker]!.otherUser = "accepted";
    },
  ),
  mutant("machine", "sshd allows passwords", { [sshd]: /"passwordauthentication": "yes"/ }, (seen) => {
    seen.nodes[worker]!.sshd["passwordauthentication"] = "yes";
  }),
  mutant(
    "machine",
    "sshd allows passwords by questions",
    { [sshd]: /"kbdinteractiveauthentication": "yes"/ },
    (seen) => {
      seen.nodes[worker]!.sshd["kbdinteractiveauthentication"] = "yes";
    },
  ),
  mutant("machine", "sshd allows root by key", { [sshd]: /prohibit-password/ }, (seen) => {
    seen.nodes[worker]!.sshd["permitrootlogin"] = "prohibit-password";
  }),
  mutant("machine", "the image's own user is left", { [users]: /users with a shell[^]*debian/ }, (seen) => {
    seen.nodes[worker]!.users.push({ name: "debian", id: 1001, shell: "/bin/bash", password: "locked" });
  }),
  mutant("machine", "the user has a password", { [users]: /not locked[^]*ubuntu/ }, (seen) => {
    seen.nodes[worker]!.users.find(({ name }) => name === "ubuntu")!.password = "set";
  }),
  mutant("machine", "root has an empty password", { [users]: /not locked[^]*"empty"/ }, (seen) => {
    seen.nodes[worker]!.users.find(({ name }) => name === "root")!.password = "empty";
  }),
  mutant(
    "machine",
    "root has a key",
    { "one key, the operator's, for the one user": /\/root\/\.ssh\/authorized_keys/ },
    (seen) => {
      seen.nodes[worker]!.authorizedKeys.push({ file: "/root/.ssh/authorized_keys", key: "ssh-ed25519 AAAA" });
    },
  ),
  mutant(
    "machine",
    "a second key for the user",
    { "one key, the operator's, for the one user": /keys in all files[^]*ssh-ed25519 AAAA"/ },
    (seen) => {
      seen.nodes[worker]!.authorizedKeys.push({ file: "/home/ubuntu/.ssh/authorized_keys", key: "ssh-ed25519 AAAA" });
    },
  ),
  mutant(
    "machine",
    "a key in the second file that sshd looks into",
    { "one key, the operator's, for the one user": /authorized_keys2/ },
    (seen) => {
      seen.nodes[worker]!.authorizedKeys.push({ file: "/home/ubuntu/.ssh/authorized_keys2", key: "ssh-ed25519 AAAA" });
    },
  ),
  mutant(
    "machine",
    "the one key is somebody else's",
    { "one key, the operator's, for the one user": /k3s-worker-01: keys in all files[^]*ssh-ed25519 AAAA"/ },
    (seen) => {
      seen.nodes[worker]!.authorizedKeys[0]!.key = "ssh-ed25519 AAAA";
    },
  ),
  mutant("access", "others may read the kubeconfig", { [config]: /"mode": "644"/ }, (seen) => {
    seen.kubeconfig.mode = "644";
  }),
  mutant("access", "the kubeconfig points to the node itself", { [config]: /127\.0\.0\.1/ }, (seen) => {
    seen.kubeconfig.server = "https://127.0.0.1:6443";
  }),
  mutant(
    "install",
    "others may read a file with the token",
    { "what holds the token on a node is for root only": /"mode": "644"[^]*config\.yaml/ },
    (seen) => {
      seen.nodes[worker]!.files.find(({ path }) => path === "/etc/rancher/k3s/config.yaml")!.mode = "644";
    },
  ),
  mutant(
    "install",
    "others may read what cloud-init was told",
    { "what holds the token on a node is for root only": /"mode": "644"[^]*user-data\.txt"/ },
    (seen) => {
      seen.nodes[worker]!.files.find(({ path }) => path.endsWith("/user-data.txt"))!.mode = "644";
    },
  ),
  mutant(
    "install",
    "the files with the token are nowhere",
    { "what holds the token on a node is for root only": /files that were not looked at/ },
    (seen) => {
      seen.nodes[worker]!.files = [];
    },
  ),
];
