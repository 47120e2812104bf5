/** node:sqlite under kysely: one connection, statements prepared once and kept by their text. */
import { SqliteDialect } from "kysely";
import type { DatabaseSync, SQLInputValue, StatementSync } from "node:sqlite";

/** Every text comes from our own code, so there are some dozen; the limit is for one that varies by mistake. */
const MAX_STATEMENTS = 200;

/** Closing kysely closes `database`. */
export function nodeSqliteDialect(
  database: Pick<DatabaseSync, "prepare" | "close">,
): SqliteDialect {
  const statements = new Map<string, KyselyStatement>();
  return new SqliteDialect({
    database: {
      close: () => database.close(),
      prepare(sql) {
        let statement = statements.get(sql);
        if (!statement) {
          statement = kyselyStatement(database.prepare(sql));
          if (sql === "rollback") statement = forgiving(statement);
          if (statements.size === MAX_STATEMENTS) {
            statements.delete(statements.keys().next().value!);
          }
          statements.set(sql, statement);
        }
        return statement;
      },
    },
  });
}

type KyselyStatement = ReturnType<typeof kyselyStatement>;

/** The shape of better-sqlite3 that kysely expects. */
function kyselyStatement(statement: StatementSync) {
  const values = (parameters: readonly unknown[]) => parameters as SQLInputValue[];
  return {
    reader: statement.columns().length > 0,
    all: (parameters: readonly unknown[]) => statement.all(...values(parameters)),
    run: (parameters: readonly unknown[]) => statement.run(...values(parameters)),
    iterate: (parameters: readonly unknown[]) => statement.iterate(...values(parameters)),
  };
}

/**
 * A full or failing disk ends the transaction by itself. Kysely's rollback would fail then, and its
 * failure be told instead of the disk's.
 */
const forgiving = (rollback: KyselyStatement): KyselyStatement => ({
  ...rollback,
  run(parameters) {
    try {
      return rollback.run(parameters);
    } catch (error) {
      if (!/no transaction is active/.test(String(error))) throw error;
      return { changes: 0, lastInsertRowid: 0 };
    }
  },
});
