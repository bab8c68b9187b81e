import { afterEach, expect, jest, spyOn, test } from "bun:test";
import { waitingFor } from "./progress.ts";

afterEach(() => void jest.useRealTimers());

test("what takes longer than two seconds is told, once; what takes less is not", async () => {
  jest.useFakeTimers();
  using written = spyOn(process.stderr, "write").mockReturnValue(true);
  /** Lets time pass, and whoever waited for it go on. */
  const pass = async (milliseconds: number) => {
    jest.advanceTimersByTime(milliseconds);
    for (let turns = 0; turns < 10; turns += 1) await Promise.resolve();
  };
  {
    using _short = waitingFor("kpi: look at network");
    await pass(1_900);
  }
  using _long = waitingFor("kpi: look at storage");
  await pass(60_000);
  await pass(60_000);
  expect(written.mock.calls).toEqual([["… kpi: look at storage\n"]]);
});
