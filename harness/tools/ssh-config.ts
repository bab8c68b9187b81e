import { KpiError } from "../core/errors.ts";
import { parsePublicKey } from "./ssh-key.ts";

/** One machine of an ssh_config. */
export interface SshHost {
  /** What a person types: the node's name. */
  readonly name: string;
  readonly address: string;
  readonly port?: number;
  /** Public key line of the host, or its base64. */
  readonly hostKey: string;
}

/** What all machines of one ssh_config share. Paths are absolute. */
export interface SshAccess {
  readonly user: string;
  readonly identityFile: string;
  readonly knownHostsFile: string;
  /** As in ssh_config(5), `%h` and `%p` included; absent for a direct connection. */
  readonly proxyCommand?: string;
  readonly hosts: readonly SshHost[];
}

/**
 * Text of a file for `ssh -F FILE NODE`: key only, this key only, the host key known from the start. Each machine is found
 * by its name and by its address.
 */
export function renderSshConfig(access: SshAccess): string {
  const shared = [
    `User ${word(access.user)}`,
    `IdentityFile ${quoted(access.identityFile)}`,
    "IdentitiesOnly yes",
    "IdentityAgent none",
    "PasswordAuthentication no",
    "KbdInteractiveAuthentication no",
    "StrictHostKeyChecking yes",
    `UserKnownHostsFile ${quoted(access.knownHostsFile)}`,
    "GlobalKnownHostsFile none",
    "UpdateHostKeys no",
    "LogLevel ERROR",
    ...(access.proxyCommand === undefined ? [] : [`ProxyCommand ${word(access.proxyCommand, /[\n\r]/)}`]),
  ];
  const blocks = access.hosts.map((host) => [
    `Host ${word(host.name)} ${word(host.address)}`,
    `  HostName ${word(host.address)}`,
    ...(host.port === undefined ? [] : [`  Port ${host.port}`]),
    `  HostKeyAlias ${word(host.name)}`,
    `  HostKeyAlgorithms ${parsePublicKey(host.hostKey).type}`,
  ]);
  const all = `Host ${access.hosts.map((host) => `${host.name} ${host.address}`).join(" ")}`;
  return `${[...blocks.map((block) => block.join("\n")), [all, ...shared.map((line) => `  ${line}`)].join("\n")].join("\n\n")}\n`;
}

/** Text of the known_hosts file that belongs to it: one line a machine, by name and by address. */
export function renderKnownHosts(hosts: readonly SshHost[]): string {
  return hosts
    .map((host) => {
      const { type, base64 } = parsePublicKey(host.hostKey);
      const address = host.port === undefined || host.port === 22 ? host.address : `[${host.address}]:${host.port}`;
      return `${word(host.name)},${address} ${type} ${base64}\n`;
    })
    .join("");
}

/** Refuses what would end a line or a word and so change the meaning of the rest. */
function word(text: string, bad = /[\s"\\]/): string {
  if (text === "" || bad.test(text))
    throw new KpiError("contract", "this cannot stand in an ssh_config", { got: text });
  return text;
}

/** ssh_config takes paths with spaces in double quotes and expands `%`. */
function quoted(path: string): string {
  return `"${word(path, /[\n\r"\\]/).replaceAll("%", "%%")}"`;
}
