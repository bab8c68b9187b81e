import { expect, test } from "bun:test";
import { kpiPaths } from "./paths.ts";

test("the home directory's, unless told otherwise; absolute", () => {
  expect(kpiPaths({ HOME: "/home/Zoë & co" })).toEqual({
    cache: "/home/Zoë & co/.cache/kpi",
    state: "/home/Zoë & co/.local/state/kpi",
  });
  expect(kpiPaths({ HOME: "/h", KPI_CACHE: "/c/../d", KPI_STATE: "" })).toEqual({
    cache: "/d",
    state: "/h/.local/state/kpi",
  });
});

test.each(["/a%20b", "/a#b", "/a?b", "/a,b", '/a"b', "/a\\b", "/a\nb", "/a${b}"])("%j is refused", (path) => {
  expect(() => kpiPaths({ HOME: "/h", KPI_STATE: path })).toThrow("KPI_STATE: a path with");
  expect(() => kpiPaths({ HOME: path })).toThrow("KPI_CACHE: a path with");
});
