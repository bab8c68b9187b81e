import { expect, test } from "bun:test";
import { seeRbac } from "./access-seen.ts";

/** An API that answers the question for `kind` otherwise than the rest. */
const api = (kind = "none", status = 201, body: object = {}) => ({
  async request(path: string) {
    if (path.endsWith(`/${kind}`)) return { status, text: JSON.stringify(body) };
    const said = path.endsWith("/selfsubjectreviews") ? { userInfo: { groups: ["g"] } } : { allowed: false };
    return { status: 201, text: JSON.stringify({ status: said }) };
  },
});

test("what the API says is taken as it says it", async () => {
  expect(await seeRbac(api())).toEqual({
    operatorMayAll: false,
    operatorGroups: ["g"],
    podMayListSecrets: false,
    podMayListNodes: false,
    anonymousMayListPods: false,
  });
});

test("an API that refuses the question has not said no", async () => {
  const refusal = { kind: "Status", status: "Failure", message: "too many requests" };
  for (const kind of ["subjectaccessreviews", "selfsubjectaccessreviews", "selfsubjectreviews"]) {
    for (const status of [403, 429, 500])
      await expect(seeRbac(api(kind, status, refusal)), kind).rejects.toThrow(`the API answers ${status}`);
    await expect(seeRbac(api(kind, 201, { status: {} })), kind).rejects.toThrow("the API answers 201");
  }
});
