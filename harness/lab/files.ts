import { statSync } from "node:fs";

/** A part of a file, both ends included. */
export interface ByteRange {
  readonly first: number;
  readonly last: number;
}

/**
 * Reads a Range header for a file of `size` bytes (RFC 9110, 14.2). Gives the range, "all" when the header is absent or
 * of a kind that a server may ignore (other units, several ranges), or "unsatisfiable".
 */
export function parseRange(header: string | null, size: number): ByteRange | "all" | "unsatisfiable" {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header?.trim() ?? "");
  if (match === null || (match[1] === "" && match[2] === "")) return "all";
  if (match[1] === "") {
    const count = Math.min(Number(match[2]), size);
    return count === 0 ? "unsatisfiable" : { first: size - count, last: size - 1 };
  }
  const first = Number(match[1]);
  const last = match[2] === "" ? size - 1 : Math.min(Number(match[2]), size - 1);
  if (match[2] !== "" && Number(match[2]) < first) return "all";
  return first >= size ? "unsatisfiable" : { first, last };
}

/** Answers a request for one of the files, whole or in part. Reads from disk as the client takes it; memory stays small. */
export function serveFile(request: Request, files: Readonly<Record<string, string>>): Response {
  const headers: Record<string, string> = { "accept-ranges": "bytes", "content-type": "application/octet-stream" };
  if (request.method !== "GET" && request.method !== "HEAD")
    return new Response("only GET and HEAD\n", { status: 405 });
  const path = decodePath(new URL(request.url).pathname);
  const file = path === undefined || !Object.hasOwn(files, path) ? undefined : files[path];
  const size = file === undefined ? undefined : statSync(file, { throwIfNoEntry: false })?.size;
  if (file === undefined || size === undefined)
    return new Response(`nothing is served at ${path ?? "this path"}\n`, { status: 404 });
  const range = parseRange(request.headers.get("range"), size);
  if (range === "unsatisfiable")
    return new Response(null, { status: 416, headers: { ...headers, "content-range": `bytes */${size}` } });
  if (range === "all") return new Response(Bun.file(file), { headers });
  const part = { ...headers, "content-range": `bytes ${range.first}-${range.last}/${size}` };
  return new Response(Bun.file(file).slice(range.first, range.last + 1), { status: 206, headers: part });
}

function decodePath(path: string): string | undefined {
  try {
    return decodeURIComponent(path);
  } catch {
    return undefined;
  }
}
