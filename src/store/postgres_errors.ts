/** What a failure of Postgres, or of the way to it, means for the call that met it. */
import { OpenboxError } from "../errors.ts";

/** The connection ended, or was ended because its time was over. */
export class ConnectionLost extends Error {
  override readonly name = "ConnectionLost";
}

/** The connection ended while a commit was on its way: whether it took place nobody knows. */
export class CommitUnknown extends Error {
  override readonly name = "CommitUnknown";
}

/** There is no connection, and this is why not. */
export class Unreachable extends Error {
  override readonly name = "Unreachable";
  constructor(cause: Error) {
    super(cause.message, { cause });
  }
}

/** `again`: the transaction was undone and may be tried anew; `elsewhere`: on another connection. */
export type Verdict = "again" | "elsewhere" | "final";

const AGAIN = new Set([
  "40001", // serialization_failure
  "40P01", // deadlock_detected
  "23505", // unique_violation: somebody was faster, and now its row can be seen
]);
const ELSEWHERE = new Set([
  "25006", // read_only_sql_transaction: it was the primary when we connected
  "57P01", // admin_shutdown
  "57P02", // crash_shutdown
  "57P03", // cannot_connect_now
  "57P05", // idle_session_timeout
  "25P03", // idle_in_transaction_session_timeout
  "53300", // too_many_connections
  "0A000", // "cached plan must not change result type", after a migration by another process
]);

export function verdictOf(error: unknown): Verdict {
  if (error instanceof ConnectionLost) return "elsewhere";
  // one of ours, told in the domain's words: what is behind it counts
  if (error instanceof OpenboxError && error.cause !== undefined) return verdictOf(error.cause);
  const code = sqlState(error);
  if (code === undefined) return "final";
  if (AGAIN.has(code)) return "again";
  // class 08 is the connection, also as poolers tell of it
  return ELSEWHERE.has(code) || code.startsWith("08") ? "elsewhere" : "final";
}

const OUT_OF_TIME = new Set([
  "55P03", // lock_not_available
  "57014", // query_canceled: statement_timeout
]);

/** The transaction failed with what came beside it, or was too late; what the statement does is not at fault. */
export const isOfTransaction = (error: unknown): boolean =>
  verdictOf(error) !== "final" || OUT_OF_TIME.has(sqlState(error) ?? "");

/** Undefined for what did not come from the server. */
export function sqlState(error: unknown): string | undefined {
  return error instanceof Error && error.name === "PostgresError"
    ? (error as Error & { code: string }).code
    : undefined;
}

const CERTIFICATE = /certificate|UnknownIssuer|NotValidForName|altnames|self.signed/i;

/** What no waiting mends, as a person is told it; undefined for a server that is only away. */
export function refusalOf(error: unknown): OpenboxError | undefined {
  if (error instanceof OpenboxError) return error;
  if (error instanceof Unreachable) return refusalOf(error.cause);
  const refused = (message: string, hint: string) =>
    new OpenboxError("bad_setting", message, { hint, cause: error });
  switch (sqlState(error)) {
    case "28P01":
    case "28000":
      return refused("The Postgres server refuses the user or the password", "look at OPENBOX_DB");
    case "3D000":
      return refused("The Postgres server has no such database", "createdb makes one");
    case "42501":
      return refused(
        "The user of the Postgres database may not make tables in it",
        "create database openbox owner USER; then name that one",
      );
  }
  const { message = "" } = error as Error;
  if (!CERTIFICATE.test(message)) return undefined;
  return refused(
    `The Postgres server's certificate is not believed: ${message.slice(0, 200)}`,
    "sslrootcert=FILE in OPENBOX_DB names the certificate of its issuer; hosters have it for download",
  );
}
