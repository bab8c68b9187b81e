import { expect } from "bun:test";
import { formatDuration } from "../core/duration.ts";

/** An instant: a Date, or milliseconds since 1970. */
type Instant = Date | number;
const time = (instant: unknown): number => (instant instanceof Date ? instant.getTime() : Number(instant));
const iso = (instant: unknown): string =>
  Number.isFinite(time(instant)) ? new Date(time(instant)).toISOString() : String(instant);

declare module "bun:test" {
  interface Matchers<T> {
    /** A length of time in milliseconds is not longer than the other. */
    toBeWithin(limit: number): void;
    /** An instant comes before the other, strictly. */
    toBeBefore(instant: Instant): void;
  }
}

/** Adds the matchers to bun's `expect`; once a process. */
export function extendExpect(): void {
  expect.extend({
    toBeWithin(received: unknown, limit: number) {
      const got = Number(received);
      return {
        pass: Number.isFinite(got) && got <= limit,
        message: () =>
          `expected ${formatDuration(got)} ${this.isNot ? "to exceed" : "to be within"} ${formatDuration(limit)}`,
      };
    },
    toBeBefore(received: unknown, instant: unknown) {
      const [first, second] = [time(received), time(instant)];
      return {
        pass: first < second,
        message: () => `expected ${iso(received)} ${this.isNot ? "not to be" : "to be"} before ${iso(instant)}`,
      };
    },
  });
}
