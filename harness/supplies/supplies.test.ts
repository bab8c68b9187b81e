import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { milliseconds, seconds } from "../core/duration.ts";
import type { KpiError } from "../core/errors.ts";
import { loadLock } from "./lock.ts";
import { type Behaviour, Origin } from "./origin.ts";
import { inspectSupplies, pinSupply, resolveSupplies, staleStaging, type SupplyContext } from "./supplies.ts";

const limits = { answer: seconds(20), stall: seconds(20), attempts: 1, pause: milliseconds(1) };
const bytes = (text: string) => new TextEncoder().encode(text.repeat(2_000));
const sha256 = (data: Uint8Array) => new Bun.CryptoHasher("sha256").update(data).digest("hex");
const [good, bad] = [bytes("good "), bytes("bad ")];
/** Members: tool (executable, says 1.2.3), LICENSE. Made by Python's zipfile. */
const zip = Buffer.from(
  "UEsDBBQAAAAIAAAAIVykSOASGgAAAKgAAAAEAAAAdG9vbFNW1E/KzNMvzuBKTc7IVzDUM9Iz5lIefIIAUEsDBBQAAAAAAAAAIVzIwS5NBAAAAAQA" +
    "AAAHAAAATElDRU5TRWZyZWVQSwECFAMUAAAACAAAACFcpEjgEhoAAACoAAAABAAAAAAAAAAAAAAA7YEAAAAAdG9vbFBLAQIUAxQAAAAAAAAAIVzI" +
    "wS5NBAAAAAQAAAAHAAAAAAAAAAAAAACkgTwAAABMSUNFTlNFUEsFBgAAAAACAAIAZwAAAGUAAAAAAA==",
  "base64",
);

let top: string;
let serial = 0;
beforeAll(() => {
  top = mkdtempSync(join(tmpdir(), "kpi-supplies-"));
});
afterAll(() => rmSync(top, { recursive: true, force: true }));

const put = (path: string, content: string | Uint8Array, mode = 0o644) => {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, content, { mode });
  chmodSync(path, mode);
};

/** A world of its own: lock file, recipe, cache, mirror directory, release server. */
async function setUp(paths: Record<string, Behaviour>, lock: (url: (path: string) => string) => string) {
  const origin = await Origin.start(paths);
  const root = join(top, `${(serial += 1)}`);
  const [cache, mirror, lockFile] = [join(root, "cache"), join(root, "mirror"), join(root, "lock.yaml")];
  put(
    join(root, "recipe/build"),
    '#!/bin/sh\necho "making it"\ntouch "$TMPDIR/left"\nprintf "made $KPI_SUPPLY_VERSION" > "$1/thing"\n',
    0o755,
  );
  put(
    lockFile,
    lock((path) => origin.url(path)),
  );
  const context = async (more: Partial<SupplyContext> = {}): Promise<SupplyContext> => ({
    lock: await loadLock(lockFile, root),
    cache,
    env: { PATH: process.env["PATH"] },
    limits,
    ...more,
  });
  const get = async (more?: Partial<SupplyContext>) => {
    const { thing } = await resolveSupplies(["thing"], await context(more));
    if (thing === undefined) throw new Error("it resolved something else");
    return { ...thing, text: readFileSync(thing.files["thing"]?.path ?? "", "utf8") };
  };
  const fail = async (more?: Partial<SupplyContext>) =>
    get(more).then(
      () => {
        throw new Error("it did not fail");
      },
      (error: unknown) => error as KpiError,
    );
  const kept = () =>
    existsSync(join(cache, "supplies/thing")) ? readdirSync(join(cache, "supplies/thing")).sort() : [];
  return {
    origin,
    root,
    cache,
    mirror,
    lockFile,
    context,
    get,
    fail,
    kept,
    [Symbol.asyncDispose]: () => origin[Symbol.asyncDispose](),
  };
}

const recipe = "    build: { recipe: recipe, tools: [] }\n";
const thing = (upstream: string, rest = "") =>
  `# the lock\nsupplies:\n  thing: # a thing\n    version: 1.0.0\n    purpose: tests\n    files: [thing]\n${upstream}${rest}`;
const release = (url: string, hash: string) => `    upstream:\n      - url: ${url}\n        sha256: ${hash} # of it\n`;

describe("resolveSupplies", () => {
  test("takes the mirror before upstream before the build, and says why not from a better place", async () => {
    await using it = await setUp({ "/r/thing": { body: good } }, (url) =>
      thing(release(url("/r/thing"), sha256(good)), recipe),
    );
    put(join(it.mirror, "thing/1.0.0/thing"), bad);
    const env = { KPI_MIRROR: it.mirror };
    const first = await it.get({ env });
    expect(first).toMatchObject({
      source: "upstream",
      version: "1.0.0",
      files: { thing: { sha256: sha256(good), size: good.length } },
    });
    expect(first.detail).toMatch(
      /in \d+ms; mirror: .+mirror\/thing\/1\.0\.0\/thing: its sha256 is wrong, so it is refused$/,
    );
  });

  test("takes the mirror without a request", async () => {
    await using it = await setUp({}, (url) => thing(release(url("/r/thing"), sha256(good))));
    put(join(it.mirror, "thing"), good);
    expect(await it.get({ env: { KPI_MIRROR: it.mirror } })).toMatchObject({ source: "mirror" });
    expect(it.origin.requests).toEqual([]);
    expect((await it.get()).source).toBe("mirror");
  });

  test("builds where upstream fails, and what is cached needs no upstream any more", async () => {
    await using it = await setUp({}, (url) => thing(release(url("/r/thing"), sha256(good)), recipe));
    const said: string[] = [];
    const built = await it.get({ onProgress: (name, { what }) => void said.push(`${name}: ${what}`) });
    expect(built).toMatchObject({ source: "build", text: "made 1.0.0" });
    expect(said).toContain(`thing: upstream: ${it.origin.url("/r/thing")}: answers 404 Told So; next: build`);
    expect(said).toContain("thing: building recipe: making it");
    expect(await it.get()).toMatchObject({ source: "build", dir: built.dir });
    expect(it.origin.requests).toHaveLength(1);
    expect(statSync(built.files["thing"]?.path ?? "").mode & 0o777).toBe(0o444);
  });

  test("keeps a file that came whole when another of the release did not", async () => {
    const both = (url: (path: string) => string) =>
      thing(
        `${release(url("/r/thing"), sha256(good))}      - url: ${url("/r/other")}\n        sha256: ${sha256(bad)}\n`,
      );
    await using it = await setUp({ "/r/thing": { body: good }, "/r/other": { mute: true } }, both);
    const impatient = { limits: { ...limits, answer: milliseconds(300) } };
    await it.fail(impatient);
    await it.fail(impatient);
    expect([it.origin.count("/r/thing"), it.origin.count("/r/other")]).toEqual([1, 2]);
  });

  test("lists every source when all fail", async () => {
    await using it = await setUp({ "/r/thing": { body: bad } }, (url) =>
      thing(release(url("/r/thing"), sha256(good)), recipe),
    );
    put(join(it.root, "recipe/build"), "#!/bin/sh\necho no luck >&2\nexit 3\n", 0o755);
    const error = await it.fail({ env: { PATH: process.env["PATH"], KPI_MIRROR: it.mirror } });
    expect(error).toMatchObject({ kind: "supply", what: "thing 1.0.0: no source could deliver it" });
    expect(error.details).toEqual([
      `mirror: ${it.mirror} has no ${it.mirror}/thing/1.0.0/thing, nor thing elsewhere in it`.replace(
        `${it.mirror}/thing/1`,
        "thing/1",
      ),
      `upstream: ${it.origin.url("/r/thing")}: its sha256 is wrong, so it is refused`,
      `  expected ${sha256(good)}, got ${sha256(bad)}`,
      "build: the build in recipe failed",
      "  no luck",
    ]);
    expect(readFileSync(error.evidence[0] ?? "", "utf8")).toContain("no luck");
    expect(it.kept()).toEqual([".download", "build.log"]);
  });

  test("refuses what is not pinned, without a request", async () => {
    await using it = await setUp({ "/r/thing": { body: good } }, (url) => thing(release(url("/r/thing"), "unpinned")));
    expect(await it.fail()).toMatchObject({
      kind: "supply",
      what: "thing 1.0.0: not pinned, so refused",
      hint: "kpi supplies pin thing",
    });
    expect(it.origin.requests).toEqual([]);
    expect(existsSync(it.cache)).toBe(false);
  });

  test("two at once share one download", async () => {
    await using it = await setUp({ "/r/thing": { body: good, pieces: 3 } }, (url) =>
      thing(release(url("/r/thing"), sha256(good))),
    );
    const said: string[] = [];
    const onProgress = (_: string, { what }: { what: string }) => void said.push(what);
    const [one, two] = await Promise.all([it.get({ onProgress }), it.get({ onProgress })]);
    expect(one.dir).toBe(two.dir);
    expect(it.origin.requests).toHaveLength(1);
    expect(said.filter((line) => /^waiting for process \d+ /.test(line)).length).toBeGreaterThan(0);
  });

  test("unpacks archives and places files", async () => {
    await using it = await setUp({ "/t.zip": { body: zip } }, (url) =>
      thing(
        `    place: { tool: [a/b, c] }\n${release(url("/t.zip"), sha256(zip))}        unzip: [tool, LICENSE]\n`,
      ).replace("[thing]", "[tool]"),
    );
    const { thing: found } = await resolveSupplies(["thing"], await it.context());
    expect(found?.files["tool"]?.path).toBe(join(found?.dir ?? "", "a/b/tool"));
    for (const dir of ["a/b", "c"]) expect(statSync(join(found?.dir ?? "", dir, "tool")).mode & 0o777).toBe(0o555);
    expect(statSync(join(found?.dir ?? "", "LICENSE")).mode & 0o777).toBe(0o444);
  });

  test("is content with the machine's own program, if it is new enough", async () => {
    const machine = "    machine: { programs: [thing, gniht], atLeast: 1.2.0 }\n";
    await using it = await setUp({}, (url) => thing(machine + release(url("/r/thing"), sha256(good))));
    const env = { PATH: join(it.root, "bin") };
    put(join(env.PATH, "thing"), "#!/bin/sh\necho Thing v1.1.9\n", 0o755);
    expect((await it.fail({ env })).details[0]).toBe(`machine: ${env.PATH}/thing is 1.1.9, below 1.2.0`);
    put(join(env.PATH, "gniht"), "#!/bin/sh\necho Gniht v1.10.0\n", 0o755);
    const { thing: found } = await resolveSupplies(["thing"], await it.context({ env }));
    expect(found).toMatchObject({ source: "machine", version: "1.10.0", dir: env.PATH });
  });

  test("builds anew when an input has changed, not when a text about it has", async () => {
    await using it = await setUp({}, () => thing("", recipe));
    const first = await it.get();
    put(join(it.root, "recipe/README.md"), "about");
    expect((await it.get()).dir).toBe(first.dir);
    put(join(it.root, "recipe/data"), "more");
    expect((await it.get()).dir).not.toBe(first.dir);
  });
});

describe("the cache", () => {
  test.each(["", "null", "{}", '{"name":"thing","files":'])(
    "makes anew what has a manifest that says nothing: %s",
    async (text) => {
      await using it = await setUp({}, () => thing("", recipe));
      const { dir } = await it.get();
      put(join(dir, "manifest.json"), text);
      const detail = `${dir} has no readable manifest.json`;
      expect((await inspectSupplies(await it.context()))[0]).toMatchObject({ state: "damaged", detail });
      expect((await it.get()).text).toBe("made 1.0.0");
      expect((await inspectSupplies(await it.context()))[0]?.state).toBe("cached");
    },
  );

  test("notices a changed file and makes it anew", async () => {
    await using it = await setUp({}, () => thing("", recipe));
    const { files } = await it.get();
    const path = files["thing"]?.path ?? "";
    const { mtime } = statSync(path);
    put(path, "MADE 1.0.0");
    const [view] = await inspectSupplies(await it.context());
    expect(view).toMatchObject({ state: "damaged", detail: `${path} is not what was stored: its sha256 differs` });
    utimesSync(path, mtime, mtime); // the quick look is fooled, the full one is not
    expect((await inspectSupplies(await it.context()))[0]?.state).toBe("cached");
    expect((await inspectSupplies({ ...(await it.context()), full: true }))[0]?.state).toBe("damaged");
    put(path, "short");
    const anew = await it.get();
    expect([anew.text, anew.detail]).toEqual(["made 1.0.0", expect.stringContaining("has 5 bytes, not 10")]);
  });

  test("takes new times alone for a copy, and for whole", async () => {
    await using it = await setUp({}, () => thing("", recipe));
    const { files, age } = await it.get();
    utimesSync(files["thing"]?.path ?? "", new Date(0), new Date(0));
    expect((await it.get()).age).toEqual(age);
  });

  test("a stopped build leaves nothing; a killed one only what the next run removes", async () => {
    await using it = await setUp({}, () => thing("", recipe));
    put(join(it.root, "recipe/build"), '#!/bin/sh\necho begun\ntouch "$1/thing"\nsleep 60\n', 0o755);
    const stop = new AbortController();
    const onProgress = (_: string, { what }: { what: string }) =>
      what.endsWith("begun") && stop.abort(new Error("stop"));
    expect((await it.fail({ signal: stop.signal, onProgress })).message).toBe("stop");
    expect(it.kept()).toEqual(["build.log"]);

    const left = join(it.cache, "supplies/thing/.staging-4194303-1-dead");
    put(join(left, "out/thing"), "half");
    const own = join(it.cache, `supplies/thing/.staging-${process.pid}-${readStart()}-live`);
    mkdirSync(own);
    expect(staleStaging(it.cache)).toEqual([left]);
    put(join(it.root, "recipe/build"), '#!/bin/sh\nprintf done > "$1/thing"\n', 0o755);
    expect((await it.get()).text).toBe("done");
    expect([existsSync(left), existsSync(own)]).toEqual([false, true]);
  });
});

test("a cache that cannot be written is the machine's fault", async () => {
  await using it = await setUp({}, () => thing("", recipe));
  expect(await it.fail({ cache: join(it.lockFile, "cache") })).toMatchObject({
    kind: "host",
    hint: expect.stringContaining("KPI_CACHE"),
  });
});

describe("pinSupply", () => {
  test("records the hash and nothing else, and what it fetched is used", async () => {
    await using it = await setUp({ "/r/thing": { body: good } }, (url) => thing(release(url("/r/thing"), "unpinned")));
    const before = readFileSync(it.lockFile, "utf8");
    expect((await inspectSupplies(await it.context()))[0]?.state).toBe("unpinned");
    const url = it.origin.url("/r/thing");
    expect(await pinSupply("thing", await it.context())).toEqual([
      { url, sha256: sha256(good), size: good.length, known: false },
    ]);
    expect(readFileSync(it.lockFile, "utf8")).toBe(before.replace("unpinned", sha256(good)));
    expect(await it.get()).toMatchObject({ source: "upstream" });
    expect(it.origin.requests).toHaveLength(1);
    expect(await pinSupply("thing", await it.context())).toEqual([{ url, sha256: sha256(good), known: true }]);
  });

  test("records only what the release's own list confirms", async () => {
    const list = (hash: string) => ({ body: new TextEncoder().encode(`${sha256(bad)}  things\n${hash} *thing\n`) });
    await using it = await setUp({ "/r/thing": { body: good }, "/r/sums": list(sha256(bad)) }, (url) =>
      thing(release(url("/r/thing"), "unpinned"), `    sums: ${url("/r/sums")}\n`),
    );
    const before = readFileSync(it.lockFile, "utf8");
    const error = await pinSupply("thing", await it.context()).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ kind: "supply", expected: sha256(bad), got: sha256(good) });
    expect(readFileSync(it.lockFile, "utf8")).toBe(before);
    it.origin.set("/r/sums", list(sha256(good)));
    expect(await pinSupply("thing", await it.context())).toMatchObject([{ confirmedBy: it.origin.url("/r/sums") }]);
  });

  test("records nothing when a file cannot be had", async () => {
    await using it = await setUp({ "/r/thing": { body: good } }, (url) =>
      thing(`${release(url("/r/thing"), "unpinned")}      - url: ${url("/r/other")}\n        sha256: unpinned\n`),
    );
    const before = readFileSync(it.lockFile, "utf8");
    expect(pinSupply("thing", await it.context())).rejects.toThrow("/r/other: answers 404");
    expect(readFileSync(it.lockFile, "utf8")).toBe(before);
  });
});

describe("the lock file", () => {
  test("is valid, and every address is of the version that it is listed under", async () => {
    const lock = await loadLock();
    for (const { name, version, upstream = [] } of Object.values(lock.supplies)) {
      for (const { url } of upstream) expect(decodeURIComponent(url), name).toContain(version);
    }
  });

  test("is refused with every fault and its position", async () => {
    await using it = await setUp({}, () => thing(release("http://host/x", "unpinned"), "    colour: red\n"));
    const error = await it.fail();
    expect(error.kind).toBe("spec");
    expect(error.details.map((line) => line.slice(it.lockFile.length))).toEqual([
      expect.stringMatching(/^:10:5 supplies\.thing\.colour: is an unknown key/),
    ]);
    put(it.lockFile, thing(release("http://host/x", "unpinned")));
    expect((await it.fail()).details).toEqual([
      expect.stringContaining("supplies.thing.upstream: yields no thing, expected thing"),
    ]);
  });

  test("whose version was changed and not its addresses is refused: the old release would pass for the new one", async () => {
    const other = "    sums: http://host/v0.9.0/sums.txt\n";
    await using it = await setUp({}, () => thing(release("http://host/v0.9.0/thing", "unpinned"), other));
    expect((await it.fail()).details.map((line) => line.slice(it.lockFile.length))).toEqual([
      ":8:14 supplies.thing.upstream[0].url: is of another version, expected an address of 1.0.0",
      ":10:11 supplies.thing.sums: is of another version, expected an address of 1.0.0",
    ]);
  });
});

/** This process's start time, as it stands in the names of staging directories. */
function readStart(): number {
  const stat = readFileSync("/proc/self/stat", "utf8");
  return Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19]);
}
