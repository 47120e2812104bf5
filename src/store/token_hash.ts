/** Secrets as the tables hold them. Ours have 190 random bits and more, so one plain hash is enough. */
import { createHash } from "node:crypto";
import type { Secret } from "../secret.ts";

export const tokenHash = (secret: Secret): Uint8Array =>
  createHash("sha256").update(secret.reveal()).digest();
