import { expect, test } from "bun:test";
import { Evidence } from "./evidence.ts";

test("claims that fail at the same moment share one collection, and do not wait for its end", async () => {
  let collections = 0;
  let end = () => {};
  const done = new Promise<void>((resolve) => (end = resolve));
  const evidence = new Evidence(async () => {
    await Promise.resolve(); // as asking for the cluster's session does
    collections += 1;
    return { dir: "/suite/evidence/kpi", done };
  });
  const places = await Promise.all([evidence.places(), evidence.places(), evidence.places()]);
  expect(places).toEqual([["/suite/evidence/kpi"], ["/suite/evidence/kpi"], ["/suite/evidence/kpi"]]);
  expect(collections).toBe(1);
  let whole = false;
  const waiting = evidence.whole().then(() => (whole = true));
  await evidence.places();
  expect(whole).toBe(false);
  end();
  await waiting;
  expect(collections).toBe(1);
});

test("where there was no cluster to ask, the next failure tries again", async () => {
  const answers = [undefined, new Error("no way into it"), { dir: "/suite/evidence/kpi", done: Promise.resolve() }];
  const evidence = new Evidence(async () => {
    const answer = answers.shift();
    if (answer instanceof Error) throw answer;
    return answer;
  });
  await evidence.whole(); // nobody has failed
  expect(answers.length).toBe(3);
  expect(await evidence.places()).toEqual([]);
  expect(await evidence.places()).toEqual([]);
  await evidence.whole();
  expect(await evidence.places()).toEqual(["/suite/evidence/kpi"]);
});
