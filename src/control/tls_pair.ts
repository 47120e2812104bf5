/** The certificate and key of HTTPS, looked at before anything listens: a wrong pair would fail each call instead. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { OpenboxError } from "../errors.ts";
import type { TlsPair } from "./http_server.ts";

export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

/** Throws `bad_file` for what is no pair. */
export async function readTlsPair(files: TlsFiles): Promise<TlsPair> {
  const cert = await readText(files.cert), key = await readText(files.key);
  let fits: boolean;
  try {
    fits = new X509Certificate(cert).checkPrivateKey(createPrivateKey(key));
  } catch (cause) {
    throw new OpenboxError(
      "bad_file",
      `Cannot use ${files.cert} and ${files.key}: not a certificate and an unencrypted key in PEM`,
      { cause },
    );
  }
  if (fits) return { cert, key };
  throw new OpenboxError("bad_file", `The key ${files.key} is not the one of ${files.cert}`);
}

async function readText(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (cause) {
    throw new OpenboxError(
      "bad_file",
      `Cannot read ${path}: ${(cause as Error).message.replace(/ \(os error \d+\).*$/s, "")}`,
      { hint: "--tls-cert FILE --tls-key FILE", cause },
    );
  }
}
