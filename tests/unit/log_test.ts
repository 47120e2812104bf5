// deno-lint-ignore-file no-control-regex -- they are what is looked for
import assert from "node:assert/strict";
import { log, startLog } from "../../src/log.ts";
import { Secret } from "../../src/secret.ts";
import { fakeHost } from "../fakes/host.ts";

const TOKEN = `obx_${"k".repeat(40)}`;

/** The lines that `write` logs, in both forms. */
async function lines(write: () => void): Promise<{ json: string; text: string }> {
  const written = { json: "", text: "" };
  for (const format of ["json", "text"] as const) {
    const host = fakeHost();
    {
      await using _log = await startLog(host, { format, level: "debug" });
      write();
    }
    written[format] = host.err.text();
  }
  return written;
}

Deno.test("a secret is masked by its type, however deep it is held", async () => {
  const secret = new Secret("hunter2-hunter2");
  const holders: Record<string, unknown>[] = [
    { secret },
    { nested: { list: [1, { secret }] } },
    { map: new Map([["key", secret]]), set: new Set([secret]) },
    { error: new Error(`refused ${secret}`, { cause: new Error(String(secret)) }) },
    { bytes: new TextEncoder().encode("hunter2-hunter2"), buffer: new Uint8Array(9).buffer },
    { getter: Object.create({}, { toJSON: { value: () => secret, enumerable: true } }) },
  ];
  for (const holder of holders) {
    const { json, text } = await lines(() => {
      log("test").info("event {secret} {nested}", { ...holder });
      log("test").info`event ${secret} ${holder}`;
    });
    for (const line of [json, text]) assert.doesNotMatch(line, /hunter2|104,117/, line);
    assert.match(json, /\[secret\]|bytes\]/);
  }
});

Deno.test("a token is masked by its form where a text holds one", async () => {
  const enroll = `enroll_${"e".repeat(32)}.${"f".repeat(43)}`;
  const { json, text } = await lines(() =>
    log("test").warn(`GET /v1/nodes/${TOKEN}`, {
      call: `GET /?token=${TOKEN}`,
      error: new Error(`no node ${enroll}`),
    })
  );
  for (const line of [json, text]) {
    assert.doesNotMatch(line, /k{16}|e{16}|f{16}/);
    assert.match(line, /obx_\[secret\]/);
    assert.match(line, /enroll_\[secret\]/);
  }
});

Deno.test("an error is shown with what it came from, also in the middle of something", async () => {
  const error = new Error("cannot write", { cause: new Error("disk full") });
  const { json, text } = await lines(() => {
    log("test").error("failed: {error}", { error, all: [{ error }] });
  });
  const line = JSON.parse(json);
  assert.equal(line.error, "cannot write: disk full");
  assert.deepEqual(line.all, [{ error: "cannot write: disk full" }]);
  assert.match(line.message, /^failed: cannot write: disk full$/);
  assert.match(text, /failed: cannot write: disk full error=cannot write: disk full all=\[/);
});

Deno.test("S33: what a peer sent cannot forge a line, move the cursor or turn text round", async () => {
  const hostile = 'a\n{"level":"error"}\r\u001b[2J\u0000\u007f\u009b31m\u2028\u2029\u202e\u2066b';
  const { json, text } = await lines(() => {
    log("test").info(`event ${hostile}`, { value: hostile, nested: { [hostile]: [hostile] } });
    log("test").info("event {value}", { value: hostile });
  });
  for (const written of [json, text]) {
    assert.equal(written.trimEnd().split("\n").length, 2);
    assert.doesNotMatch(
      written.replaceAll("\n", ""),
      /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066]/,
    );
  }
  assert.equal(JSON.parse(json.split("\n")[0]!).value, hostile, "nothing is lost in JSON");
});

Deno.test("what cannot be written as JSON is shown all the same, and nothing without end", async () => {
  const circle: Record<string, unknown> = {};
  circle["self"] = circle;
  const { json, text } = await lines(() =>
    log("test").info("event", {
      circle,
      serial: 2n ** 63n,
      nothing: undefined,
      notNumber: NaN,
      long: "x".repeat(100_000),
      many: Array.from({ length: 10_000 }, (_, i) => i),
      act: () => {},
      date: new Date(0),
      broken: Object.create({}, {
        bad: {
          enumerable: true,
          get() {
            throw new Error("no");
          },
        },
      }),
    })
  );
  const line = JSON.parse(json);
  assert.equal(line.serial, String(2n ** 63n));
  assert.equal(line.date, "1970-01-01T00:00:00.000Z");
  assert.equal(line.broken, "[unreadable]");
  assert.ok(json.length < 10_000 && text.length < 10_000);
});

Deno.test("a flush of nothing leaves the log as it was", async () => {
  const host = fakeHost();
  await using running = await startLog(host, { format: "text" });
  await running.flush();
  log("test").info("after it");
  await running.flush();
  assert.match(host.err.text(), /after it/);
});
