import { readFile, rm, stat } from "node:fs/promises";
import { writeWhole } from "../tools/whole-file.ts";

/** What is known of a file that is being fetched, kept beside it so that a later run can go on. */
export interface Note {
  readonly url: string;
  /** Strong ETag or date of the content that the bytes belong to. */
  readonly validator: string | undefined;
  readonly total: number | undefined;
}

/** What an earlier attempt left: bytes that may be gone on from. */
export interface Partial {
  readonly size: number;
  readonly validator?: string;
  readonly total?: number;
}

const notePath = (path: string) => `${path}.json`;

/** What there is of `url` in `path`; nothing (size 0) when it is of something else, or cannot be told. */
export async function readPartial(path: string, url: string): Promise<Partial> {
  try {
    const { size } = await stat(path);
    const note = JSON.parse(await readFile(notePath(path), "utf8")) as globalThis.Partial<Note>;
    const usable = note.url === url && (note.validator !== undefined || note.total === size);
    if (!usable || (note.total !== undefined && size > note.total)) return { size: 0 };
    return {
      size,
      ...(note.validator === undefined ? {} : { validator: note.validator }),
      ...(note.total === undefined ? {} : { total: note.total }),
    };
  } catch {
    return { size: 0 };
  }
}

/** Written before the first byte. */
export function writeNote(path: string, note: Note): void {
  writeWhole(notePath(path), JSON.stringify(note));
}

export async function removePartial(path: string): Promise<void> {
  await rm(path, { force: true });
  await rm(notePath(path), { force: true });
}
