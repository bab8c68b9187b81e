/** One mutant's fate. */
export interface Bite {
  readonly area: string;
  /** The stage whose observation it changes. */
  readonly at: string;
  /** What is broken. */
  readonly what: string;
  /** Titles of all claims that failed for it, with what they said. */
  readonly killedBy: Readonly<Record<string, string>>;
  /** Titles of the claims that must fail for it. */
  readonly named: readonly string[];
  /** What the mutant asked for and did not get; empty when it is killed. */
  readonly missing: readonly string[];
}

/** A claim and the number of mutants that name it and that it killed with the right words. */
export interface ClaimTeeth {
  readonly file: string;
  readonly title: string;
  readonly stage: string;
  readonly kills: number;
}

/** The whole of it: claims by mutants. */
export interface Teeth {
  readonly claims: readonly ClaimTeeth[];
  readonly bites: readonly Bite[];
  /** Claims that fail on the recording as it is: nothing can be concluded from them. */
  readonly broken: readonly string[];
  /** What is also broken on real machines, which shows that looks notice, and how many claims fail for it: see specs/breakages. */
  readonly real: { readonly breakages: number; readonly claims: number };
  /** Looks and scenarios of which there is no recording: their claims are not tried. */
  readonly unrecorded: readonly string[];
}

/** Those that no named claim killed with the right words. */
export const survivors = ({ bites }: Teeth): readonly Bite[] => bites.filter(({ missing }) => missing.length > 0);
