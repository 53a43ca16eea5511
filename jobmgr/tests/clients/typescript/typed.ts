// The operations that a server's own document has for its jobspecs. Arguments as for walk.ts.

import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { paths } from "./document.js";

const [url, token] = process.argv.slice(2);
const headers = token ? { Authorization: `Bearer ${token}` } : undefined;
const client = createClient<paths>({ baseUrl: url, headers });

const query = { wait: "30s" };
const hello = await client.POST("/v1/run/hello", { body: { message: "hi", style: "starred" }, params: { query } });
assert.equal(hello.data?.result, "*** hi ***\n");

// @ts-expect-error: no such style
const wrong = await client.POST("/v1/run/hello", { body: { message: "hi", style: "quiet" } });
assert.deepEqual(wrong.error?.errors?.map((error) => error.field), ["style"]);

// @ts-expect-error: a number is to be given
const number = await client.POST("/v1/run/countdown", { body: { seconds: "many" } });
assert.equal(number.error?.code, "invalid_parameters");
console.log("typed ok");
