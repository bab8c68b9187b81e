import { Ajv, type AnySchemaObject, type ErrorObject } from "ajv";
import { type DocumentPath, type Fault, quote } from "./fault.ts";
import { nearest } from "./nearest.ts";
import { keyPosition, nodeAt, plain, type YamlNode } from "./yaml.ts";

/** A subschema that only adds `required` to what is stated elsewhere is fine, and so is "a mapping or nothing". */
const loose = { strictTypes: false, strictRequired: false };

/** A compiled JSON schema. */
export interface Schema {
  /** Every fault of the document, each once, with its position. */
  readonly check: (root: YamlNode) => Fault[];
}

/**
 * Compiles a JSON schema (draft-07). A subschema may say in `errorMessage` what is expected ("an exact release such as
 * ..."): editors and our messages both show it. `oneOf` with `discriminator` reports only the branch that was meant.
 */
export function compileSchema(schema: AnySchemaObject): Schema {
  const ajv = new Ajv({ allErrors: true, verbose: true, strict: true, ...loose, discriminator: true });
  ajv.addVocabulary(["errorMessage"]);
  const validate = ajv.compile(schema);
  return {
    check(root) {
      if (validate(plain(root))) return [];
      return faultsOf(validate.errors ?? [], root, schema);
    },
  };
}

function faultsOf(errors: readonly ErrorObject[], root: YamlNode, schema: AnySchemaObject): Fault[] {
  const seen = new Set<string>();
  const slips = new Set<string>();
  const faults: Fault[] = [];
  // Unknown keys first: a required key that is only misspelt is not missing as well.
  const unknownFirst = errors.toSorted((a, b) => order(a) - order(b));
  for (const error of unknownFirst) {
    if (error.keyword === "if" || error.keyword === "propertyNames") continue;
    const fault = faultOf(error, root, schema, slips);
    const key = JSON.stringify(fault.path);
    if (seen.has(key) || (error.keyword === "required" && slips.has(key))) continue;
    seen.add(key);
    faults.push(fault);
  }
  return faults;
}

function order(error: ErrorObject): number {
  if (error.keyword === "additionalProperties") return 0;
  // The sum-up of a choice goes before the faults of each of its branches, which it stands for.
  return error.keyword === "oneOf" || error.keyword === "anyOf" ? 1 : 2;
}

function faultOf(error: ErrorObject, root: YamlNode, schema: AnySchemaObject, slips: Set<string>): Fault {
  const path = pathOf(error.instancePath, root);
  const params = error.params as Record<string, unknown>;
  const told = messageOf(error.parentSchema) ?? messageOf(subschema(schema, path));
  const at = nodeAt(root, path)?.at ?? root.at;
  if (error.propertyName !== undefined) {
    const named = [...path, error.propertyName];
    const keyRule = (error.parentSchema as AnySchemaObject)["errorMessage"] ?? `a key that ${error.message}`;
    return { at: keyPosition(root, named), path: named, what: "is no valid name", expected: keyRule };
  }
  switch (error.keyword) {
    case "additionalProperties": {
      const key = String(params["additionalProperty"]);
      const known = Object.keys((error.parentSchema as AnySchemaObject)["properties"] ?? {});
      const meant = nearest(key, known);
      if (meant !== undefined) slips.add(JSON.stringify([...path, meant]));
      const named = [...path, key];
      const expected = meant === undefined ? `one of ${known.join(", ")}` : `${meant} (did you mean that?)`;
      return { at: keyPosition(root, named), path: named, what: "is an unknown key", expected };
    }
    case "required": {
      const key = String(params["missingProperty"]);
      const named = [...path, key];
      const map = nodeAt(root, path);
      const removed = map?.kind === "map" ? map.removed?.get(key) : undefined;
      const what = removed === undefined ? "is missing" : "is removed here, but needed";
      return {
        at: removed ?? keyPosition(root, path),
        path: named,
        what,
        expected: expectation(schema, named) ?? "it",
      };
    }
    case "uniqueItems": {
      const [first, later] = [params["j"], params["i"]].map(Number).sort((a, b) => a - b) as [number, number];
      const item = [...path, later];
      const node = nodeAt(root, item);
      return { at: node?.at ?? at, path: item, what: `repeats item ${first + 1}`, expected: "each item once" };
    }
    default:
      return { at, path, what: `is ${shown(nodeAt(root, path))}`, expected: told ?? standard(error) };
  }
}

/** What stands there, in words: `10`, `"abc"`, `a list`, `empty`. */
export function shown(node: YamlNode | undefined): string {
  if (node === undefined) return "absent";
  if (node.kind === "list") return node.items.length === 0 ? "an empty list" : "a list";
  if (node.kind === "map") return node.entries.size === 0 ? "an empty mapping" : "a mapping";
  if (typeof node.value === "string") return quote(node.value);
  return node.source === "" ? "empty" : node.source;
}

function standard(error: ErrorObject): string {
  const params = error.params as Record<string, unknown>;
  const limit = Number(params["limit"]);
  switch (error.keyword) {
    case "type":
      return typeText(params["type"]);
    case "enum":
      return (params["allowedValues"] as readonly unknown[]).map(String).join(" or ");
    case "const":
      return String(params["allowedValue"]);
    case "minimum":
      return `at least ${limit}`;
    case "maximum":
      return `at most ${limit}`;
    case "minItems":
      return `at least ${limit} ${limit === 1 ? "item" : "items"}`;
    case "maxItems":
      return `at most ${limit} ${limit === 1 ? "item" : "items"}`;
    case "minProperties":
      return `at least ${limit} ${limit === 1 ? "entry" : "entries"}`;
    case "pattern":
      return `text matching ${String(params["pattern"])}`;
    default:
      return `a value that ${error.message ?? "is valid"}`;
  }
}

function typeText(types: unknown): string {
  return [types]
    .flat()
    .map((type) => typeWords[String(type)] ?? String(type))
    .join(" or ");
}

const typeWords: Record<string, string> = {
  string: "text",
  object: "a mapping",
  array: "a list",
  integer: "a whole number",
  number: "a number",
  boolean: "true or false",
  null: "nothing",
};

/** A JSON pointer as a path; list indexes become numbers. */
function pathOf(pointer: string, root: YamlNode): DocumentPath {
  const path: (string | number)[] = [];
  for (const part of pointer.split("/").slice(1)) {
    const step = part.replaceAll("~1", "/").replaceAll("~0", "~");
    path.push(nodeAt(root, path)?.kind === "list" ? Number(step) : step);
  }
  return path;
}

/** What the subschema that describes `path` expects: its `errorMessage`, else its choices or its type. */
function expectation(root: AnySchemaObject, path: DocumentPath): string | undefined {
  const schema = subschema(root, path);
  if (Array.isArray(schema?.["enum"])) return messageOf(schema) ?? schema["enum"].map(String).join(" or ");
  return messageOf(schema) ?? (schema?.["type"] === undefined ? undefined : typeText(schema["type"]));
}

function messageOf(schema: unknown): string | undefined {
  const told: unknown = (schema as AnySchemaObject | undefined)?.["errorMessage"];
  return typeof told === "string" ? told : undefined;
}

/** The subschema that describes `path`, through `properties`, `additionalProperties`, `items` and `$ref`. */
function subschema(root: AnySchemaObject, path: DocumentPath): AnySchemaObject | undefined {
  let schema: AnySchemaObject | undefined = resolved(root, root);
  for (const step of path) {
    const properties = schema["properties"] as Record<string, AnySchemaObject> | undefined;
    const next: unknown =
      typeof step === "number"
        ? schema["items"]
        : properties !== undefined && Object.hasOwn(properties, step)
          ? properties[step]
          : schema["additionalProperties"];
    if (typeof next !== "object" || next === null) return undefined;
    schema = resolved(next as AnySchemaObject, root);
  }
  return schema;
}

/** Follows `$ref`s inside the same file (`#/$defs/name`); what stands beside a `$ref` goes first. */
function resolved(schema: AnySchemaObject, root: AnySchemaObject): AnySchemaObject {
  const ref: unknown = schema["$ref"];
  if (typeof ref !== "string" || !ref.startsWith("#/")) return schema;
  let target: unknown = root;
  for (const part of ref.slice(2).split("/")) target = (target as Record<string, unknown> | undefined)?.[part];
  const { $ref: _, ...beside } = schema;
  return { ...resolved(target as AnySchemaObject, root), ...beside };
}
