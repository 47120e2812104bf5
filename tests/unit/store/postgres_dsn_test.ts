import assert from "node:assert/strict";
import fc from "fast-check";
import { OpenboxError } from "../../../src/errors.ts";
import { describeDsn, hasPassword, parsePostgresDsn } from "../../../src/store/postgres_dsn.ts";

const VERIFIED = { kind: "verified", hostname: true, rootCert: undefined };

function refuses(text: string, why: RegExp): void {
  assert.throws(() => parsePostgresDsn(text), (error: OpenboxError) => {
    assert.ok(error instanceof OpenboxError);
    assert.equal(error.code, "bad_setting");
    assert.match(`${error.message} ${error.hint}`, why);
    return true;
  });
}

Deno.test("an address as Neon prints it", () => {
  const dsn = parsePostgresDsn(
    "postgresql://neondb_owner:npg_Ab1@ep-cool-fog-123456-pooler.eu-central-1.aws.neon.tech/neondb?sslmode=require&channel_binding=require",
  );
  const host = "ep-cool-fog-123456-pooler.eu-central-1.aws.neon.tech";
  assert.deepEqual(dsn.hosts, [{ hostname: host, port: 5432 }]);
  assert.deepEqual([dsn.user, dsn.password.reveal(), dsn.database], [
    "neondb_owner",
    "npg_Ab1",
    "neondb",
  ]);
  assert.deepEqual(dsn.tls, VERIFIED);
});

Deno.test("an address as Neon prints it for clients without SNI", () => {
  const { options } = parsePostgresDsn(
    "postgres://u:p@ep-x.neon.tech/d?sslmode=require&options=endpoint%3Dep-x",
  );
  assert.equal(options, "endpoint=ep-x");
});

Deno.test("an address as Supabase prints it: a pooler's port, and a user with a dot", () => {
  const dsn = parsePostgresDsn(
    "postgresql://postgres.abcdefghijklmnop:pass%23word@aws-0-eu-central-1.pooler.supabase.com:6543/postgres",
  );
  assert.equal(dsn.user, "postgres.abcdefghijklmnop");
  assert.equal(dsn.password.reveal(), "pass#word");
  assert.equal(dsn.hosts[0]!.port, 6543);
  assert.deepEqual(dsn.tls, VERIFIED, "not plain because nothing was said");
});

Deno.test("addresses as Fly prints them", () => {
  for (const host of ["box-db.flycast", "box-db.internal:5433", "[fdaa:0:1::3]"]) {
    const dsn = parsePostgresDsn(`postgres://box:pw@${host}/box?sslmode=disable`);
    assert.deepEqual(dsn.tls, { kind: "off" });
  }
});

Deno.test("without a word about TLS only this machine may be plain", () => {
  for (const host of ["localhost", "127.0.0.1:5433", "[::1]", "127.1.2.3"]) {
    assert.deepEqual(parsePostgresDsn(`postgres://u@${host}/d`).tls, { kind: "offered" }, host);
  }
  for (const host of ["db", "10.0.0.1", "localhost.example.com", "127.0.0.1,db"]) {
    assert.deepEqual(parsePostgresDsn(`postgres://u@${host}/d`).tls, VERIFIED, host);
  }
});

Deno.test("every sslmode means what is written, or more", () => {
  const tls = (query: string) => parsePostgresDsn(`postgres://u@db/d?${query}`).tls;
  assert.deepEqual(tls("sslmode=disable"), { kind: "off" });
  assert.deepEqual(tls("sslmode=prefer"), { kind: "offered" });
  assert.deepEqual(tls("sslmode=require"), VERIFIED);
  assert.deepEqual(tls("sslmode=verify-full&sslrootcert=system"), VERIFIED);
  assert.deepEqual(tls("sslmode=verify-full&sslrootcert=/etc/ca.crt"), {
    ...VERIFIED,
    rootCert: "/etc/ca.crt",
  });
  assert.deepEqual(tls("sslmode=verify-ca&sslrootcert=ca.crt"), {
    kind: "verified",
    hostname: false,
    rootCert: "ca.crt",
  });
});

Deno.test("the rest of what is known", () => {
  const dsn = parsePostgresDsn(
    "postgres://u@[::1]:1,b:2/d?application_name=box%201&connect_timeout=5&target_session_attrs=read-write&channel_binding=prefer",
  );
  assert.deepEqual(dsn.hosts, [{ hostname: "::1", port: 1 }, { hostname: "b", port: 2 }]);
  assert.deepEqual([dsn.applicationName, dsn.connectTimeoutMs], ["box 1", 5000]);
  assert.equal(parsePostgresDsn("postgres://u@h").database, "u");
});

Deno.test("what is wrong is refused, by name where it has one", () => {
  const at = "postgres://u:p@h/d";
  refuses(`${at}?pgbouncer=true`, /"pgbouncer"/);
  refuses(`${at}?sslmode=allow`, /sslmode.*verify-full/);
  refuses(`${at}?sslmode=disable&sslmode=require`, /"sslmode" twice/);
  refuses(`${at}?sslmode=disable&sslrootcert=/x`, /sslrootcert/);
  refuses(`${at}?sslmode=verify-ca`, /without an sslrootcert/);
  refuses(`${at}?sslmode=disable&channel_binding=require`, /channel_binding.*verify-full/);
  refuses(`${at}?channel_binding=maybe`, /channel_binding/);
  refuses(`${at}?target_session_attrs=any`, /target_session_attrs/);
  refuses(`${at}?target_session_attrs=standby`, /target_session_attrs/);
  refuses(`${at}?connect_timeout=0`, /connect_timeout/);
  refuses("postgres://h/d", /names no user/);
  refuses("postgres://:p@h/d", /names no user/);
  refuses("postgres://u:p@/d", /no host/);
  refuses("postgres://u:p@h:0/d", /port/);
  refuses("postgres://u:p@h:99999/d", /port/);
  refuses("postgres://u:p@%2Fvar%2Frun/d", /socket/);
  refuses("postgres://u:a/b@h/d", /write @ as %40/);
  refuses("postgres://u:%zz@h/d", /%25/);
  refuses("postgres://u%00x:p@h/d", /control character/);
  refuses(`${at}?options=%0a`, /control character/);
});

Deno.test("STO-16: a refusal says nothing of the password, whatever is in it", () => {
  const piece = fc.constantFrom(
    "hunter2",
    "@",
    ":",
    "/",
    "?",
    "%",
    "#",
    "&",
    "=",
    ",",
    "[",
    " ",
    "%00",
  );
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
      const password = pieces.join("") + "hunter2";
      try {
        const dsn = parsePostgresDsn(`postgres://user:${password}@host:1/db?sslmode=disable`);
        const shown = `${describeDsn(dsn)} ${JSON.stringify(dsn)} ${
          Deno.inspect(dsn, { depth: 9 })
        }`;
        assert.ok(!shown.includes("hunter2"), shown);
      } catch (error) {
        if (!(error instanceof OpenboxError)) throw error;
        assert.ok(!`${error.message} ${error.hint}`.includes("hunter2"), error.message);
      }
    }),
    { numRuns: 2000 },
  );
});

Deno.test("STO-16: an address with a password is told from one without", () => {
  assert.equal(hasPassword("postgres://u:p@h/d"), true);
  assert.equal(hasPassword("postgres://u:a/b@h/d"), true);
  assert.equal(hasPassword("postgres://u@h:5432/d"), false);
  assert.equal(hasPassword("postgres://h/d"), false);
});
