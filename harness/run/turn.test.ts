import { expect, test } from "bun:test";
import { scratch } from "../tools/scratch.ts";
import { takeTurn } from "./turn.ts";
import { speaking } from "./speaking.ts";

test("suites take turns: the second says for whom it waits, and begins when the first has ended, however that ends", async () => {
  using at = scratch();
  const said: string[] = [];
  const waiting = Promise.withResolvers<void>();
  const say = (line: string) => {
    said.push(line);
    waiting.resolve();
  };
  const signal = new AbortController().signal;
  const first = await speaking(`
    const { takeTurn } = await load("run/turn.ts");
    await takeTurn({ cache: ${JSON.stringify(at.dir)}, signal: new AbortController().signal, say: console.log });`);
  let begun = false;
  const second = takeTurn({ cache: at.dir, signal, say }).finally(() => (begun = true));
  await waiting.promise;
  expect(said).toEqual([`waiting for kpi  (process ${first.pid}): suites take turns, because their times count`]);
  expect(begun).toBe(false);
  process.kill(first.pid, "SIGKILL");
  (await second).release();
  (await takeTurn({ cache: at.dir, signal, say })).release();
  expect(said.length).toBe(1);
});

test("who waits for a turn can be told to end", async () => {
  using at = scratch();
  const stop = new AbortController();
  using _first = await takeTurn({ cache: at.dir, signal: stop.signal, say: () => {} });
  const second = takeTurn({ cache: at.dir, signal: stop.signal, say: () => stop.abort(new Error("told to end")) });
  await expect(second).rejects.toThrow("told to end");
});
