const unitMiB = { MiB: 1, GiB: 1024, TiB: 1024 * 1024 } as const;

/** Parses `512MiB`, `10GiB` or `1TiB` to MiB; undefined when the text is no size. A number without unit is none. */
export function parseSize(text: string): number | undefined {
  const match = /^([0-9]+)(MiB|GiB|TiB)$/.exec(text);
  return match === null ? undefined : Number(match[1]) * unitMiB[match[2] as keyof typeof unitMiB];
}

/** `512MiB`, `10GiB`: the largest unit that gives a whole number. */
export function formatSize(mebibytes: number): string {
  return mebibytes > 0 && mebibytes % unitMiB.GiB === 0 ? `${mebibytes / unitMiB.GiB}GiB` : `${mebibytes}MiB`;
}
