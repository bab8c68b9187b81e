import { readFileSync, statSync } from "node:fs";
import { connect } from "node:net";
import { KpiError } from "../core/errors.ts";
import type { NodePlan, Plan } from "../core/plan.ts";
import type { Access } from "../run/access.ts";
import { type Kube, openKube } from "../tools/kube.ts";
import { parseKubeconfig } from "../tools/kubeconfig.ts";
import { foreignCertificate } from "../tools/certificate.ts";
import { requestStatus } from "../tools/https-status.ts";
import { generateSshKey } from "../tools/ssh-key.ts";
import type { LoginAttempt } from "../tools/ssh-auth.ts";
import { tryLogin } from "../tools/ssh-login.ts";
import { connectThrough, proxyUrl } from "../tools/tunnel.ts";
import type { Session } from "./session.ts";

/** What a node's ssh server answered to somebody who is not supposed to get in, and to the operator. */
export interface SshDoorSeen {
  /** Methods offered to the operator's user. */
  readonly offered: readonly string[];
  /** `refused` or `accepted`, by who tried; the operator's is `not tried` when somebody else was let in before. */
  readonly password: string;
  readonly otherKey: string;
  readonly operator: string;
  readonly root: string;
  readonly otherUser: string;
}

export interface AccessSeen {
  readonly kubeconfig: { readonly mode: string; readonly server: string };
  /** HTTP status of GET /api/v1/nodes, by who asked; `untrusted` where TLS ended it. */
  readonly api: {
    readonly operator: number;
    readonly anonymous: number;
    readonly foreignCertificate: number | string;
    readonly otherCa: string;
  };
  /** What the operator may do everything with, and a pod's default account nothing. */
  readonly rbac: {
    readonly operatorMayAll: boolean;
    readonly operatorGroups: readonly string[];
    readonly podMayListSecrets: boolean;
    readonly podMayListNodes: boolean;
    readonly anonymousMayListPods: boolean;
  };
  /** HTTP status of GET /pods on each node's kubelet. */
  readonly kubelet: Readonly<Record<string, { readonly anonymous: number | string; readonly token: number | string }>>;
  readonly ssh: Readonly<Record<string, SshDoorSeen>>;
}

/** Knocks at every door of the cluster from outside, with the right key and with wrong ones. */
export async function seeAccess(session: Session): Promise<AccessSeen> {
  const { access, plan } = session;
  const each = async <T>(work: (node: NodePlan) => Promise<T>) =>
    Object.fromEntries(await Promise.all(plan.nodes.map(async (node) => [node.name, await work(node)] as const)));
  const [api, rbac, kubelet, ssh] = await Promise.all([
    seeApiDoor(access),
    seeRbac(access.kube()),
    each((node) => seeKubelet(access, node)),
    each((node) => seeSshDoor(session, node)),
  ]);
  const mode = (statSync(access.kubeconfigPath).mode & 0o777).toString(8);
  const { server } = parseKubeconfig(readFileSync(access.kubeconfigPath, "utf8"));
  return { kubeconfig: { mode, server }, api, rbac, kubelet, ssh };
}

const nodesPath = "/api/v1/nodes";

async function seeApiDoor(access: Access): Promise<AccessSeen["api"]> {
  const ours = parseKubeconfig(readFileSync(access.kubeconfigPath, "utf8"));
  const foreign = await foreignCertificate("kpi-spec-foreigner");
  const kube = openKube({ kubeconfig: ours });
  const proxy = ours.proxyUrl === undefined ? {} : { proxy: ours.proxyUrl };
  const [operator, anonymous, stranger, otherCa] = await Promise.all([
    kube.request(nodesPath),
    kube.anonymous().request(nodesPath),
    requestStatus(ours.server + nodesPath, { ...proxy, cert: foreign.cert, key: foreign.key }),
    openKube({ kubeconfig: { ...ours, ca: foreign.cert } })
      .request(nodesPath)
      .then(
        ({ status }) => `answered ${status}`,
        (error: unknown) => (error instanceof KpiError ? `refused: ${error.what}` : String(error)),
      ),
  ]);
  return {
    operator: operator.status,
    anonymous: anonymous.status,
    foreignCertificate: stranger,
    otherCa,
  };
}

/** What the API says about a question that it was asked by POST. */
interface Review {
  readonly status?: { readonly allowed?: unknown; readonly userInfo?: { readonly groups?: readonly string[] } };
}

/**
 * Who may do what, by the API's own word. Throws a `contract` error where it gives none: whoever is refused the question has not heard
 * "no".
 */
export async function seeRbac(kube: Pick<Kube, "request">): Promise<AccessSeen["rbac"]> {
  const review = async (api: string, kind: string, spec: object) => {
    const [group = "", version = ""] = api.split("/");
    const path = `/apis/${group}/${version}/${kind.toLowerCase()}s`;
    const { status, text } = await kube.request(path, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ apiVersion: api, kind, spec }),
    });
    const unanswered = new KpiError("contract", `the API answers ${status} to ${path}`, { got: text.slice(0, 200) });
    if (status !== 201) throw unanswered;
    return { said: (JSON.parse(text) as Review).status, unanswered };
  };
  const allowed = async (kind: string, spec: object): Promise<boolean> => {
    const { said, unanswered } = await review("authorization.k8s.io/v1", kind, spec);
    if (typeof said?.allowed !== "boolean") throw unanswered;
    return said.allowed;
  };
  const groups = async (): Promise<readonly string[]> => {
    const { said, unanswered } = await review("authentication.k8s.io/v1", "SelfSubjectReview", {});
    if (said?.userInfo === undefined) throw unanswered;
    return said.userInfo.groups ?? [];
  };
  const may = (user: string, ofGroups: readonly string[], verb: string, resource: string) =>
    allowed("SubjectAccessReview", {
      user,
      groups: ofGroups,
      resourceAttributes: { namespace: "default", verb, resource },
    });
  const pod = "system:serviceaccount:default:default";
  const podGroups = ["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"];
  const [self, all, secrets, nodes, anonymous] = await Promise.all([
    groups(),
    allowed("SelfSubjectAccessReview", { resourceAttributes: { verb: "*", group: "*", resource: "*" } }),
    may(pod, podGroups, "list", "secrets"),
    may(pod, podGroups, "list", "nodes"),
    may("system:anonymous", ["system:unauthenticated"], "list", "pods"),
  ]);
  return {
    operatorMayAll: all,
    operatorGroups: self,
    podMayListSecrets: secrets,
    podMayListNodes: nodes,
    anonymousMayListPods: anonymous,
  };
}

async function seeKubelet({ lab }: Access, { address }: NodePlan) {
  const url = `https://${address}:10250/pods`;
  const proxy = lab === undefined ? {} : { proxy: proxyUrl(lab.proxy) };
  const [anonymous, token] = await Promise.all([
    requestStatus(url, proxy),
    requestStatus(url, { ...proxy, token: "nobody" }),
  ]);
  return { anonymous, token };
}

/**
 * Whoever must not get in as the operator's user: who offers nothing, another key, a password. For one connection, which then must end
 * well, by the operator: see tryLogin.
 */
export const strangers = ({ user }: Plan): readonly LoginAttempt[] => [
  { type: "none" },
  { type: "publickey", key: generateSshKey("kpi-spec-stranger").privateKey },
  { type: "password", password: user },
];
/** Which of the attempts on that connection is whose. */
const [otherKey, password, operator] = [1, 2, 3];

async function seeSshDoor(session: Session, node: NodePlan): Promise<SshDoorSeen> {
  const { lab, plan, secrets } = session.access;
  const hostKey = secrets.hosts[node.name]?.publicKey ?? "";
  const open = async () => {
    if (lab !== undefined) return connectThrough(lab.proxy, node.address, 22);
    return connect({ host: node.address, port: 22 });
  };
  const ours: LoginAttempt = { type: "publickey", key: secrets.user.privateKey };
  const knock = (user: string, ...before: readonly LoginAttempt[]) =>
    tryLogin({ user, hostKey, open, attempts: [...before, ours] });
  const [user, root, otherUser] = await Promise.all([
    session.knocked(node).then((known) => known ?? knock(plan.user, ...strangers(plan))),
    knock("root"),
    knock("admin"),
  ]);
  const verdict = (accepted: boolean) => (accepted ? "accepted" : "refused");
  const told = user.accepted < 0 || user.accepted === operator;
  return {
    offered: user.offered,
    otherKey: verdict(user.accepted === otherKey),
    password: verdict(user.accepted === password || user.offered.some((method) => method !== "publickey")),
    operator: told ? verdict(user.accepted === operator) : "not tried",
    root: verdict(root.accepted >= 0),
    otherUser: verdict(otherUser.accepted >= 0),
  };
}
