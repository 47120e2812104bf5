/**
 * Takes a renewed certificate into use without a restart. The files are read every few seconds: links that
 * are swapped (certbot, Kubernetes), renames and copies in place all end in another text, and a watch of
 * the file system would miss one or the other of them.
 */
import { abortable } from "../abort.ts";
import type { Clock } from "../clock.ts";
import { toOpenboxError } from "../errors.ts";
import { log } from "../log.ts";
import type { TlsPair } from "./http_server.ts";
import { running } from "./running.ts";
import { readTlsPair, type TlsFiles } from "./tls_pair.ts";

export interface TlsReloadOptions {
  readonly clock: Clock;
  /** The pair in use now. */
  readonly current: TlsPair;
  /** For connections from now on. */
  use(pair: TlsPair): void;
}

const LOOK_MS = 5000;

/** Disposing it ends the looking. A pair that is broken, or half renewed, leaves the one in use; the log says so once. */
export function reloadTls(files: TlsFiles, options: TlsReloadOptions): AsyncDisposable {
  return running((signal) => lookAgain(files, options, signal));
}

async function lookAgain(
  files: TlsFiles,
  { clock, current, use }: TlsReloadOptions,
  signal: AbortSignal,
): Promise<void> {
  let known = current, complaint: string | undefined;
  while (!signal.aborted) {
    await clock.sleep(LOOK_MS, { signal }).catch(() => {});
    try {
      // a file system that hangs must not hold up our end
      const pair = await abortable(readTlsPair(files), signal);
      complaint = undefined;
      if (pair.cert === known.cert && pair.key === known.key) continue;
      use(pair);
      known = pair;
      log("control").info("a new TLS certificate is in use", { file: files.cert });
    } catch (error) {
      if (signal.aborted) return;
      const { message } = toOpenboxError(error);
      if (message !== complaint) {
        log("control").error("the TLS files changed and cannot be used; the old ones stay", {
          error: toOpenboxError(error),
        });
      }
      complaint = message;
    }
  }
}
