import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AuthContext, Server, type ServerChannel, utils } from "ssh2";
import { notYet, until } from "../core/deadline.ts";
import { milliseconds, seconds } from "../core/duration.ts";
import { KpiError } from "../core/errors.ts";
import { run } from "./exec.ts";
import { connectSsh, type NodeConnection } from "./ssh.ts";
import { tryLogin } from "./ssh-login.ts";
import { renderKnownHosts, renderSshConfig } from "./ssh-config.ts";
import { generateSshKey, parsePublicKey } from "./ssh-key.ts";

const dir = mkdtempSync(join(tmpdir(), "kpi-ssh-test-"));
const hostKey = generateSshKey("host");
const userKey = generateSshKey("operator");
const clients = new Set<{ end(): void }>();
/** Signals that commands were sent. */
const signals: string[] = [];
let server: Server;
let port: number;

/** Answers a few fixed commands the way a shell would. */
function answer(command: string, channel: ServerChannel): void {
  const say = (code: number, out: string, err = "") => {
    channel.stderr.write(err);
    channel.write(out);
    channel.exit(code);
    channel.end();
  };
  if (command === "echo") say(0, "one\ntwo");
  else if (command === "fail --token hunter2") say(3, "", "first\nhunter2 is wrong\n");
  else if (command === "cat") channel.on("data", (data: Buffer) => say(0, `got ${data}`));
  else if (command === "cut") for (const client of clients) client.end();
  else if (command.startsWith("sudo -n cat -- /etc/x")) say(0, "a\n\n.\n");
  // anything else never ends
}

function authenticate(auth: AuthContext): void {
  const known = utils.parseKey(userKey.publicKey);
  if (known instanceof Error || auth.method !== "publickey" || auth.username !== "ubuntu")
    return auth.reject(["publickey"]);
  if (!auth.key?.data.equals(known.getPublicSSH())) return auth.reject(["publickey"]);
  if (auth.signature && auth.blob && !known.verify(auth.blob, auth.signature, auth.hashAlgo)) return auth.reject();
  auth.accept();
}

beforeAll(async () => {
  server = new Server({ hostKeys: [hostKey.privateKey] }, (client) => {
    clients.add(client);
    client.on("error", () => {});
    client.on("close", () => clients.delete(client));
    client.on("authentication", authenticate);
    client.on("session", (accept: () => NodeJS.EventEmitter) => {
      const session = accept();
      session.on("exec", (accept: () => ServerChannel, _reject: unknown, info: { command: string }) =>
        answer(info.command, accept()),
      );
      session.on("signal", (_accept: unknown, _reject: unknown, { name }: { name: string }) => signals.push(name));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  port = server.address().port;
});
afterAll(() => {
  server.close();
  rmSync(dir, { recursive: true });
});

const access = () => ({
  host: "127.0.0.1",
  port,
  user: "ubuntu",
  privateKey: userKey.privateKey,
  hostKey: hostKey.publicKey,
  deadline: seconds(5),
});
const failure = async (work: Promise<unknown>): Promise<KpiError> => {
  const error = await work.then(
    () => new Error("it did not fail"),
    (error: unknown) => error,
  );
  expect(error).toBeInstanceOf(KpiError);
  return error as KpiError;
};

test("runs commands: output, lines, input, several at once", async () => {
  await using node = await connectSsh(access());
  const lines: string[] = [];
  const [echo, cat] = await Promise.all([
    node.exec("echo", { onLine: (line, from) => lines.push(`${from}: ${line}`) }),
    node.exec("cat", { input: "text" }),
  ]);
  expect(echo).toMatchObject({ code: 0, stdout: "one\ntwo", stderr: "" });
  expect(lines).toEqual(["stdout: one", "stdout: two"]);
  expect(cat.stdout).toBe("got text");
  expect(await node.readFile("/etc/x", { sudo: true })).toBe("a\n\n");
});

test("a failing command says where, how and its last lines, without secrets", async () => {
  await using node = await connectSsh(access());
  const error = await failure(node.exec("fail --token hunter2", { secrets: ["hunter2"] }));
  expect(error.what).toBe("fail on ubuntu@127.0.0.1 ended with exit code 3");
  expect(error.command).toBe("ssh ubuntu@127.0.0.1 'fail --token ***'");
  expect(error.details).toEqual(["first", "*** is wrong"]);
  expect((await node.exec("fail --token hunter2", { accept: [3] })).code).toBe(3);
});

test("timeouts, aborts and lost connections end a command", async () => {
  await using node = await connectSsh(access());
  expect((await failure(node.exec("hang", { timeout: milliseconds(30) }))).what).toContain("did not end within 30ms");
  const stop = new AbortController();
  const reason = new KpiError("interrupted", "stopped");
  const hanging = failure(node.exec("hang", { signal: stop.signal }));
  stop.abort(reason);
  expect(await hanging).toBe(reason);
  expect((await failure(node.exec("cut"))).what).toContain("connection was lost");
  await node.closed;
  expect((await failure(node.exec("echo"))).what).toContain("could not be started");
});

/** A way to the server of a test's own: `join` says what passes from one end to the other. */
function tunnel(join: (near: Socket, far: Socket) => void) {
  const ends: Socket[] = [];
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ host: "127.0.0.1", port });
    for (const end of [near, far]) ends.push(end.on("error", () => {}));
    join(near, far);
  }).listen(0, "127.0.0.1");
  const address = server.address() as { readonly port: number };
  const open = async () => connect({ host: "127.0.0.1", port: address.port, allowHalfOpen: true });
  return { ends, open, close: () => server.close() };
}

test("a machine that hangs before it begins with a command fails it in time, and is told to end it when it wakes", async () => {
  const { ends, open, close } = tunnel((near, far) => near.pipe(far).pipe(near));
  await using node = await connectSsh({ ...access(), open });
  signals.length = 0;
  for (const end of ends) end.pause();
  const error = await failure(node.exec("hang late", { timeout: milliseconds(30) }));
  expect(error.what).toContain("did not end within 30ms");
  for (const end of ends) end.resume();
  await until("it was told", seconds(3), () => signals.includes("TERM") || notYet("it runs"));
  close();
});

test("a machine that ends the connection is lost, even where the tunnel to it stays half open", async () => {
  const { ends, open, close } = tunnel((near, far) => {
    near.pipe(far);
    far.pipe(near, { end: false });
  });
  await using node = await connectSsh({ ...access(), open });
  expect((await node.exec("echo")).code).toBe(0);
  ends[0]?.end();
  await node.closed;
  close();
});

test("a connection closes although the machine at its end has lost its power", async () => {
  const { ends, open, close } = tunnel((near, far) => near.pipe(far, { end: false }).pipe(near, { end: false }));
  const node = await connectSsh({ ...access(), open });
  await node.close();
  for (const end of ends) end.destroy();
  close();
});

test("another host key is refused before anything is sent", async () => {
  const other = generateSshKey("other");
  const error = await failure(connectSsh({ ...access(), hostKey: parsePublicKey(other.publicKey).base64 }));
  expect(error.kind).toBe("host");
  expect(error.what).toContain("host key of ubuntu@127.0.0.1 is not the one");
  expect(error.got).toBe(parsePublicKey(hostKey.publicKey).base64);
});

test("tells what became of those who tried before the key, on the same connection", async () => {
  const stranger = { type: "publickey", key: generateSshKey("stranger").privateKey } as const;
  const before = [{ type: "none" }, stranger, { type: "password", password: "ubuntu" }] as const;
  await using connection = await connectSsh({ ...access(), before });
  expect(connection.login).toEqual({ accepted: 3, offered: ["publickey"] });
  expect(clients.size).toBe(1);
  const operator = { type: "publickey", key: userKey.privateKey } as const;
  await using twice = await connectSsh({ ...access(), before: [operator] });
  expect(twice.login.accepted).toBe(0);
});

test("a refused user key fails at once, and is awaited while the machine boots", async () => {
  const { privateKey } = generateSshKey("stranger");
  expect((await failure(connectSsh({ ...access(), privateKey }))).what).toContain("refused the key");
  const late = await failure(connectSsh({ ...access(), privateKey, booting: true, deadline: milliseconds(600) }));
  expect(late.kind).toBe("deadline");
  expect(late.details[0]).toContain("refused the key");
});

test("waits for a port that opens late, and says what it saw when it never does", async () => {
  const holder = createServer().listen(0, "127.0.0.1");
  const closedPort = (holder.address() as { port: number }).port;
  await new Promise((resolve) => holder.close(resolve));
  const never = await failure(connectSsh({ ...access(), port: closedPort, deadline: milliseconds(120) }));
  expect(never.kind).toBe("deadline");
  expect(never.details[0]).toMatch(/last saw: .*(ECONNREFUSED|Failed to connect)/);

  let tries = 0;
  const open = async (): Promise<Socket> => {
    tries += 1;
    if (tries < 3) throw new Error("tunnel refused");
    return connect(port, "127.0.0.1");
  };
  await using node: NodeConnection = await connectSsh({ ...access(), host: "k3s-cp-01", open });
  expect((await node.exec("echo")).code).toBe(0);
  expect(tries).toBe(3);
});

test("keys are read by OpenSSH, comment included", async () => {
  const path = join(dir, "key");
  for (const comment of ["", "a", "kpi operator", "k3s-cp-01 host key"]) {
    const key = generateSshKey(comment);
    writeFileSync(path, key.privateKey, { mode: 0o600 });
    expect((await run("ssh-keygen", ["-y", "-f", path])).stdout).toBe(key.publicKey);
  }
});

test("an ordinary ssh works with the rendered files and refuses another host", async () => {
  const hosts = [{ name: "k3s-cp-01", address: "127.0.0.1", port, hostKey: hostKey.publicKey }];
  const files = { identityFile: join(dir, "id with space"), knownHostsFile: join(dir, "known_hosts") };
  writeFileSync(files.identityFile, userKey.privateKey, { mode: 0o600 });
  writeFileSync(files.knownHostsFile, renderKnownHosts(hosts));
  const config = join(dir, "ssh_config");
  writeFileSync(config, renderSshConfig({ user: "ubuntu", hosts, ...files }));
  expect((await run("ssh", ["-F", config, "k3s-cp-01", "echo"])).stdout).toBe("one\ntwo");

  writeFileSync(files.knownHostsFile, renderKnownHosts([{ ...hosts[0]!, hostKey: generateSshKey("x").publicKey }]));
  const refused = await failure(run("ssh", ["-F", config, "127.0.0.1", "echo"]));
  expect(refused.details.join("\n")).toContain("Host key verification failed");
});

test("a server that speaks to nobody for a moment, as for refused keys before, is asked again; a refusal is an answer", async () => {
  let opened = 0;
  const door = createServer((socket) => {
    opened += 1;
    if (opened < 3)
      socket.end("Not allowed at this time\r\n"); // as OpenSSH says it
    else socket.pipe(connect(port, "127.0.0.1")).pipe(socket);
  });
  await new Promise<void>((resolve) => door.listen(0, "127.0.0.1", resolve));
  const open = async () => connect((door.address() as { port: number }).port, "127.0.0.1");
  const knock = ({ privateKey }: { privateKey: string }) =>
    tryLogin({
      user: "ubuntu",
      hostKey: hostKey.publicKey,
      open,
      attempts: [{ type: "none" }, { type: "publickey", key: privateKey }],
    });
  try {
    expect(await knock(userKey)).toEqual({ accepted: 1, offered: ["publickey"] });
    expect(opened).toBe(3);
    expect(await knock(generateSshKey("stranger"))).toMatchObject({ accepted: -1 });
    expect(opened).toBe(4);
  } finally {
    door.close();
  }
});
