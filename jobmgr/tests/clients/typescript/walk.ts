// What a caller does, with the types that openapi-typescript has made of the document and openapi-fetch.
// Arguments: the server's address and, where it asks for one, a token.

import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./document.js";

type Problem = components["schemas"]["Problem"];
type SubmitJob = components["schemas"]["SubmitJob"];

const [url, token] = process.argv.slice(2);
const headers = token ? { Authorization: `Bearer ${token}` } : undefined;
const client = createClient<paths>({ baseUrl: url, headers });

/** What a call was answered with; a problem is thrown. */
function given<T>(answer: { data?: T; error?: Problem }): T {
  if (answer.data === undefined) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}

async function submit(body: SubmitJob, wait?: string) {
  return given(await client.POST("/v1/jobs", { body, params: { query: { wait } } }));
}

async function ended(id: number) {
  return given(await client.GET("/v1/jobs/{id}", { params: { path: { id }, query: { wait: "30s" } } }));
}

async function submitAndWait() {
  const body: SubmitJob = {
    name: "hello",
    parameters: { message: "good morning", style: "loud" },
    labels: { team: "art" },
    runAfter: new Date(Date.UTC(2026, 0, 2)).toISOString(),
  };
  const params = { query: { wait: "30s" }, header: { "Idempotency-Key": "typescript" } };
  const job = given(await client.POST("/v1/jobs", { body, params }));
  assert.equal(job.status, "completed");
  assert.equal(job.result, "GOOD MORNING!!!\n");
  assert.ok(new Date(job.created) > new Date(2026, 0, 2));
  const again = await client.POST("/v1/jobs", { body, params });
  assert.equal(again.response.status, 200);
  assert.equal(given(again).id, job.id);
  const retried = given(await client.POST("/v1/jobs/{id}/retry", { params: { path: { id: job.id } } }));
  assert.equal(retried.retryOf, job.id);
}

async function inputs() {
  const body = new Blob(["one two\nthree\n"]) as unknown as string;
  const headers = { "Content-Type": "application/octet-stream" };
  const params = { query: { name: "notes.txt" } };
  const file = given(await client.POST("/v1/inputs", { body, params, headers, bodySerializer: (body) => body }));
  assert.deepEqual([file.name, file.size], ["notes.txt", 14]);
  const job = await submit({ name: "word-count", parameters: { file: file.id } }, "30s");
  assert.equal(job.result, "notes.txt: 2 lines, 3 words\n");
  const kept = await client.DELETE("/v1/inputs/{id}", { params: { path: { id: file.id } } });
  assert.equal(kept.error?.code, "conflict");
}

async function logs() {
  const { id } = await submit({ name: "countdown", parameters: { seconds: 1 } });
  const params = { path: { id }, query: { follow: true } };
  const stream = given(await client.GET("/v1/jobs/{id}/logs", { params, parseAs: "stream" }));
  assert.ok(stream);
  let text = "";
  for await (const piece of stream) text += Buffer.from(piece).toString();
  assert.equal(text, "1\nliftoff\n");
  assert.equal((await ended(id)).progress?.percent, 100);
}

/** Follows a job from an event on, until `enough`: pairs of an event's kind and data; and the id of the last one. */
async function follow(id: number, last: string | undefined, enough: (kind: string) => boolean) {
  const params = { path: { id }, header: { "Last-Event-ID": last } };
  const answer = await client.GET("/v1/jobs/{id}/events", { params, parseAs: "stream" });
  if (answer.response.status === 204 || !answer.data) return { status: answer.response.status, events: [], last };
  const events: { kind: string; data: any }[] = [];
  let text = "";
  for await (const piece of answer.data) {
    text += Buffer.from(piece).toString();
    const blocks = text.split("\n\n");
    text = blocks.pop() ?? "";
    for (const block of blocks) {
      const fields = Object.fromEntries(block.split("\n").map((line) => line.split(/: (.*)/s, 2)));
      if (!fields.data) continue;
      events.push({ kind: fields.event, data: JSON.parse(fields.data) });
      last = fields.id;
      if (enough(fields.event)) return { status: answer.response.status, events, last };
    }
  }
  return { status: answer.response.status, events, last };
}

async function events() {
  const { id } = await submit({ name: "countdown", parameters: { seconds: 1 } });
  // The connection is closed while the job runs; nothing is missing and nothing comes twice.
  const first = await follow(id, undefined, (kind) => kind === "log");
  const second = await follow(id, first.last, () => false);
  const all = [...first.events, ...second.events];
  const data = (wanted: string) => all.filter(({ kind }) => kind === wanted).map(({ data }) => data);
  assert.deepEqual(data("status").map(({ status }) => status), ["queued", "started", "completed"]);
  assert.equal(data("log").map(({ text }) => text).join(""), "1\nliftoff\n");
  assert.equal(all.at(-1)?.kind, "end");
  assert.equal((await follow(id, second.last, () => false)).status, 204);
}

async function artifacts() {
  const { id } = await submit({ name: "image-generator", parameters: { message: "hi" } }, "30s");
  const list = given(await client.GET("/v1/jobs/{id}/artifacts", { params: { path: { id } } }));
  const artifact = list.items[0];
  assert.equal(artifact?.mime, "image/png");
  const path = { id: artifact.id };
  const params = { path };
  const picture = given(await client.GET("/v1/artifacts/{id}/content", { params, parseAs: "arrayBuffer" }));
  assert.equal(picture.byteLength, artifact.size);
  assert.equal(Buffer.from(picture).toString("latin1", 1, 4), "PNG");
  const zip = await client.GET("/v1/jobs/{id}/artifacts.zip", { params: { path: { id } }, parseAs: "blob" });
  assert.ok(given(zip).size > artifact.size);
  const removed = await client.DELETE("/v1/jobs/{id}", { params: { path: { id } } });
  assert.equal(removed.response.status, 204);
  const gone = await client.GET("/v1/artifacts/{id}/content", { params, parseAs: "stream" });
  assert.equal(gone.error?.code, "not_found");
}

async function cancel() {
  const { id } = await submit({ name: "countdown", parameters: { seconds: 600 } });
  given(await client.POST("/v1/jobs/{id}/cancel", { params: { path: { id } } }));
  const job = await ended(id);
  assert.deepEqual([job.status, job.reason], ["canceled", "canceled"]);
  const refused = await client.POST("/v1/jobs/{id}/cancel", { params: { path: { id } } });
  assert.deepEqual([refused.error?.code, refused.error?.jobStatus], ["conflict", "canceled"]);
}

async function pages() {
  const labels = { pages: `typescript-${process.pid}` };
  const jobs = Array.from({ length: 5 }, () => ({ name: "sysinfo", labels }));
  const batch = given(await client.POST("/v1/jobs/batch", { body: { jobs } }));
  const seen: number[] = [];
  let cursor: string | undefined;
  do {
    const query = { label: `pages:${labels.pages}`, limit: 2, cursor };
    const page = given(await client.GET("/v1/jobs", { params: { query } }));
    seen.push(...page.items.map((job) => job.id));
    cursor = page.next ?? undefined;
  } while (cursor);
  assert.deepEqual(seen, [...batch.ids].reverse());
}

async function problems() {
  const unknown = await client.POST("/v1/jobs", { body: { name: "nope" } });
  assert.deepEqual([unknown.error?.code, unknown.response.status], ["unknown_job", 404]);
  const body = { name: "hello", priority: 101, parameters: { style: "quiet", mesage: "x" } };
  const wrong = await client.POST("/v1/jobs", { body });
  const fields = wrong.error?.errors?.map((error) => error.field).sort();
  assert.deepEqual(fields, ["parameters.mesage", "parameters.style", "priority"]);
}

async function who() {
  const me = given(await client.GET("/v1/me"));
  assert.ok(me.scopes.includes("admin"));
  if (!token) return;
  assert.equal(me.token?.name, "caller");
  const refused = await client.GET("/v1/me", { headers: { Authorization: `Bearer ${token.slice(0, -1)}?` } });
  assert.deepEqual([refused.response.status, refused.error?.code], [401, "unauthorized"]);
}

for (const step of [who, submitAndWait, inputs, logs, events, artifacts, cancel, pages, problems]) {
  await step();
  console.log(step.name, "ok");
}
