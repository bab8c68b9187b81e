import {
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  type Node,
  parseAllDocuments,
  type Scalar,
  visit,
  type YAMLError,
} from "yaml";
import { type DocumentPath, type Fault, type Position, positionsIn, quote } from "./fault.ts";

export interface YamlScalar {
  readonly kind: "scalar";
  readonly at: Position;
  readonly value: string | number | boolean | null;
  /** As written in the file. */
  readonly source: string;
}
export interface YamlList {
  readonly kind: "list";
  readonly at: Position;
  readonly items: readonly YamlNode[];
}
export interface YamlMap {
  readonly kind: "map";
  readonly at: Position;
  /** In document order. */
  readonly entries: ReadonlyMap<string, YamlEntry>;
  /** Keys taken away by a `null` further down an `extends` chain, with the place of that `null`. */
  readonly removed?: ReadonlyMap<string, Position>;
}
export interface YamlEntry {
  /** Where the key stands. */
  readonly at: Position;
  readonly value: YamlNode;
}
/** A YAML document that remembers where everything stands. */
export type YamlNode = YamlScalar | YamlList | YamlMap;

/** What came of parsing: no `root` when the syntax is broken or nothing is there, and then at least one fault. */
export interface ParsedYaml {
  readonly root?: YamlNode;
  readonly faults: readonly Fault[];
}

/** No input of ours comes near; it bounds the work that a hostile one can cause. */
const maxLength = 64 * 1024;

/** Nor does any of ours nest like this. */
const maxDepth = 32;
const tooDeep = ["is nested too deeply", `at most ${maxDepth} levels`] as const;

/** Plain scalars that YAML 1.1 and 1.2 read differently: what we mean must not depend on the reader. */
const traps: readonly { pattern: RegExp; what: string; expected: string }[] = [
  { pattern: /^(y|n|yes|no|on|off)$/i, what: "a boolean", expected: "quotes around it, or true or false" },
  { pattern: /^[-+]?0[0-9_]+$/, what: "octal", expected: "no leading zero, or quotes around it" },
  {
    pattern: /^[-+]?[1-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$/,
    what: "a number in base 60",
    expected: "quotes around it",
  },
  { pattern: /^[-+]?[0-9]+_[0-9_]*$/, what: "a number", expected: "no underscores, or quotes around it" },
];

/**
 * Parses one YAML 1.2 document and keeps the position of every value. Refuses what makes configuration ambiguous or
 * dangerous: several documents, duplicate keys, aliases, unknown tags, keys that are not text, and scalars that other
 * YAML readers take for something else. Byte order mark and CRLF are fine. Never throws.
 */
export function parseYaml(text: string, file: string): ParsedYaml {
  const clean = text.replace(/^\uFEFF/, "");
  const position = positionsIn(clean, file);
  const refuse = (offset: number, what: string, expected: string): ParsedYaml => ({
    faults: [{ at: position(offset), path: [], what, expected }],
  });
  if (clean.length > maxLength) return refuse(0, `has ${clean.length} characters`, `at most ${maxLength}`);
  const control = clean.search(/[\0-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff]/);
  if (control >= 0) return refuse(control, "contains a control character", "plain text in UTF-8");
  const options = { prettyErrors: false, uniqueKeys: false, version: "1.2", schema: "core" } as const;
  const parsed = parseAllDocuments(clean, options);
  const documents: Document.Parsed[] = "empty" in parsed ? [] : parsed;
  const [document, second] = documents;
  for (const each of documents) {
    const error = [...each.errors, ...each.warnings].sort((a, b) => a.pos[0] - b.pos[0])[0];
    if (error !== undefined) return refuse(openingQuote(each, error) ?? error.pos[0], ...syntaxFault(error));
  }
  if (second !== undefined) return refuse(second.range[0], "is a second document", "one document a file");
  if (document?.directives.yaml.explicit && document.directives.yaml.version !== "1.2") {
    return refuse(0, `is declared as YAML ${document.directives.yaml.version}`, "YAML 1.2");
  }
  if (document === undefined || document.contents === null) return refuse(0, "is empty", "a mapping");
  return new Conversion(clean, position).run(document.contents);
}

function syntaxFault({ code, message }: YAMLError): [what: string, expected: string] {
  if (code === "TAB_AS_INDENT") return ["is indented with a tab", "spaces"];
  if (message.includes("call stack")) return [...tooDeep];
  const told = (message.split("\n")[0] ?? "").replace(/closing (['"])quote/, "closing $1");
  return [`is no valid YAML: ${told.charAt(0).toLowerCase()}${told.slice(1)}`, "YAML 1.2"];
}

/** Where a quote begins that is never closed: the library points to the end of the file. */
function openingQuote(document: Document.Parsed, { message, pos }: YAMLError): number | undefined {
  let start: number | undefined;
  if (!/missing closing ['"]/i.test(message)) return undefined;
  visit(document, {
    Scalar(_, { type, range }) {
      if (type?.startsWith("QUOTE") && range && range[0] <= pos[0] && pos[0] <= range[1]) start = range[0];
    },
  });
  return start;
}

/** Turns the library's tree into ours, collecting faults that are not syntax. */
class Conversion {
  private readonly faults: Fault[] = [];
  private isTooDeep = false;

  constructor(
    private readonly text: string,
    private readonly position: (offset: number) => Position,
  ) {}

  run(contents: Node): ParsedYaml {
    const root = this.node(contents, []);
    return this.isTooDeep ? { faults: this.faults } : { root, faults: this.faults };
  }

  private fault(node: Node, path: DocumentPath, what: string, expected: string): void {
    this.faults.push({ at: this.at(node), path, what, expected });
  }

  private at(node: Node): Position {
    return this.position(node.range?.[0] ?? 0);
  }

  private node(node: Node, path: DocumentPath): YamlNode {
    if (node.tag !== undefined) this.fault(node, path, `has the tag ${quote(node.tag)}`, "no tag");
    if (path.length > maxDepth) {
      if (!this.isTooDeep) this.fault(node, [], ...tooDeep);
      this.isTooDeep = true;
      return { kind: "scalar", at: this.at(node), value: null, source: "..." };
    }
    if (isMap(node)) return { kind: "map", at: this.at(node), entries: this.entries(node.items, path) };
    if (isSeq(node)) {
      const items = node.items.map((item, index) => this.node(item as Node, [...path, index]));
      return { kind: "list", at: this.at(node), items };
    }
    if (isScalar(node)) return this.scalar(node, path);
    const name = isAlias(node) ? `*${node.source}` : "this";
    this.fault(node, path, `${quote(name)} is an alias`, "the value written out");
    return { kind: "scalar", at: this.at(node), value: null, source: name };
  }

  private scalar(node: Scalar, path: DocumentPath): YamlScalar {
    const source = this.source(node);
    this.checkTrap(node, path);
    const { value } = node;
    const known =
      typeof value === "string" || typeof value === "number" || typeof value === "boolean" || value === null;
    return { kind: "scalar", at: this.at(node), value: known ? value : source, source };
  }

  private entries(pairs: readonly { key: unknown; value: unknown }[], path: DocumentPath): Map<string, YamlEntry> {
    const entries = new Map<string, YamlEntry>();
    for (const pair of pairs) {
      const key = pair.key as Node;
      const name = this.key(key, path);
      const first = entries.get(name);
      if (first !== undefined) {
        const place = `${first.at.line}:${first.at.col}`;
        this.fault(key, [...path, name], `stands here again, first at ${place}`, "each key once");
        continue;
      }
      const value: YamlNode =
        pair.value === null
          ? { kind: "scalar", at: this.at(key), value: null, source: "" }
          : this.node(pair.value as Node, [...path, name]);
      entries.set(name, { at: this.at(key), value });
    }
    return entries;
  }

  /** The key's text. A key that is no text is a fault and goes by what is written, so that what stands under it is checked too. */
  private key(key: Node, path: DocumentPath): string {
    if (!isScalar(key)) {
      const [start = 0, end = start] = key.range ?? [];
      const name = this.text.slice(start, end);
      this.fault(key, [...path, name], "is a key that is not text", "plain text as key");
      return name;
    }
    const name = typeof key.value === "string" ? key.value : this.source(key);
    if (name === "<<") this.fault(key, [...path, name], "is a merge key", "the keys written out");
    else if (typeof key.value === "string") this.checkTrap(key, [...path, name]);
    else this.fault(key, [...path, name], `is a key that is ${valueKind(key.value)}`, "a key in quotes");
    return name;
  }

  private checkTrap(node: Scalar, path: DocumentPath): void {
    if (node.type !== "PLAIN") return;
    const source = this.source(node);
    const trap = traps.find(({ pattern }) => pattern.test(source));
    if (trap !== undefined)
      this.fault(node, path, `is ${source}, which YAML 1.1 takes for ${trap.what}`, trap.expected);
  }

  private source(node: Scalar): string {
    return node.range ? this.text.slice(node.range[0], node.range[1]) : String(node.value);
  }
}

function valueKind(value: unknown): string {
  return value === null ? "empty" : `a ${typeof value}`;
}

/** The same as plain values, as JSON would give them; keys such as `__proto__` stay ordinary keys. */
export function plain(node: YamlNode): unknown {
  if (node.kind === "scalar") return node.value;
  if (node.kind === "list") return node.items.map(plain);
  const object: Record<string, unknown> = {};
  for (const [key, entry] of node.entries) {
    Object.defineProperty(object, key, {
      value: plain(entry.value),
      enumerable: true,
      writable: true,
      configurable: true,
    });
  }
  return object;
}

/** The value at `path`, or undefined when nothing is there. */
export function nodeAt(root: YamlNode, path: DocumentPath): YamlNode | undefined {
  let node: YamlNode | undefined = root;
  for (const step of path) {
    if (node?.kind === "map") node = node.entries.get(String(step))?.value;
    else if (node?.kind === "list") node = node.items[Number(step)];
    else return undefined;
  }
  return node;
}

/** The keys of the map at `path`, in document order; none when there is no map. */
export function keysAt(root: YamlNode, path: DocumentPath): string[] {
  const node = nodeAt(root, path);
  return node?.kind === "map" ? [...node.entries.keys()] : [];
}

/** Where the key at `path` stands; for a list item, or the top, the value itself. */
export function keyPosition(root: YamlNode, path: DocumentPath): Position {
  const parent = nodeAt(root, path.slice(0, -1));
  const last = path.at(-1);
  const entry = parent?.kind === "map" && last !== undefined ? parent.entries.get(String(last)) : undefined;
  return entry?.at ?? nodeAt(root, path)?.at ?? parent?.at ?? root.at;
}
