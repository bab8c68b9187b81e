/** One way to try to log in. Keys (private ones, in OpenSSH's format) and passwords are secret. */
export type LoginAttempt =
  | { readonly type: "none" }
  | { readonly type: "publickey"; readonly key: string }
  | { readonly type: "password"; readonly password: string };

/** What a server said to the attempts. */
export interface LoginAnswer {
  /** Index of the accepted attempt; -1 when all were refused. */
  readonly accepted: number;
  /** Methods that the server offers to this user, as far as it told. */
  readonly offered: readonly string[];
}

type Go = (attempt: (LoginAttempt & { readonly username: string }) | false) => void;

/** Attempts to log in, made in this order, in one connection, until one is accepted. */
export class LoginAttempts {
  readonly #offered = new Set<string>();
  #next = 0;

  constructor(
    private readonly user: string,
    private readonly attempts: readonly LoginAttempt[],
  ) {}

  /** ssh2's `authHandler`: asked for the next attempt, with the methods that the server still offers (null at first). */
  readonly handler = (left: readonly string[] | null, _partly: unknown, go: Go): void => {
    for (const method of left ?? []) this.#offered.add(method);
    const attempt = this.attempts[this.#next++];
    go(attempt === undefined ? false : { ...attempt, username: this.user });
  };

  /** What came of them, once the server has let somebody in or nobody. */
  answer(accepted: boolean): LoginAnswer {
    return { accepted: accepted ? this.#next - 1 : -1, offered: [...this.#offered].sort() };
  }
}
