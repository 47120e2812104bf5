/** `agent/sessions/`: one file a session, as long as it lives and until its loss is told. */
import { createHash } from "node:crypto";
import * as v from "valibot";
import { log } from "../log.ts";
import { readKeptJson } from "../home/kept_json.ts";
import { writePrivateFile } from "../home/private_file.ts";
import type { SessionKey, SessionRecord, SessionRecords } from "../session/table.ts";

const VERSION = 1;

const SessionFile = v.object({
  version: v.literal(VERSION),
  user_id: v.string(),
  name: v.string(),
  isolation: v.string(),
  created_at: v.number(),
  lost: v.optional(v.string()),
});

const KIND = {
  schema: SessionFile,
  version: VERSION,
  what: "a session's record",
  goKey: "session_id",
  remedy: "start the agent again",
} as const;

export function sessionFiles(directory: string): SessionRecords {
  // a disk may fold the case of names, and the user's id is part of it
  const pathOf = ({ userId, name }: SessionKey) =>
    `${directory}/${createHash("sha256").update(`${userId}\0${name}`).digest("hex")}.json`;
  return {
    async read() {
      const records: SessionRecord[] = [];
      for (const name of await listFiles(directory)) {
        try {
          const file = await readKeptJson(`${directory}/${name}`, KIND);
          if (file) records.push(fromFile(file));
        } catch (error) {
          log("agent", "session").warn("cannot read a session's file", { error });
        }
      }
      return records;
    },
    async write(record) {
      const { userId, name, isolation, createdAt, lost } = record;
      const file: v.InferInput<typeof SessionFile> = {
        version: VERSION,
        user_id: userId,
        name,
        isolation,
        created_at: Math.floor(createdAt / 1000),
        ...(lost !== undefined && { lost }),
      };
      await writePrivateFile(pathOf(record), JSON.stringify(file) + "\n");
    },
    async remove(key) {
      try {
        await Deno.remove(pathOf(key));
      } catch (error) {
        if (!(error instanceof Deno.errors.NotFound)) throw error;
      }
    },
  };
}

/** What a write left behind that was cut off is no record. */
async function listFiles(directory: string): Promise<string[]> {
  const names: string[] = [];
  try {
    for await (const { name } of Deno.readDir(directory)) {
      if (/^[0-9a-f]{64}\.json$/.test(name)) names.push(name);
      else if (name.endsWith(".tmp")) await Deno.remove(`${directory}/${name}`).catch(() => {});
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return names;
}

const fromFile = (file: v.InferOutput<typeof SessionFile>): SessionRecord => ({
  userId: file.user_id,
  name: file.name,
  isolation: file.isolation,
  createdAt: file.created_at * 1000,
  lost: file.lost,
});
