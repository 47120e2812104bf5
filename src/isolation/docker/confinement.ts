/** What a container is held to, in the engine's own words. */
import { OpenboxError } from "../../errors.ts";
import type { Confinement, Mount } from "../backend.ts";
import type { DockerEndpoint } from "./endpoint.ts";

/** Enough for any build, too few for a fork bomb to hurt the node. */
const PIDS = 4096;
/** What the profile `untrusted` holds where nothing was said. */
const UNTRUSTED = { memoryBytes: 1024 ** 3, pids: 512, cpus: 1 } as const;
/** Nobody, by number: images need not have the name. */
const NOBODY = "65534:65534";

export interface Held {
  readonly hostConfig: Record<string, unknown>;
  /** Undefined: the image's. */
  readonly user: string | undefined;
}

/** `cores` is how many the engine's machine has, `imageUser` who the image runs as. */
export function holdContainer(
  { untrusted = false, ...asked }: Confinement,
  { cores, imageUser }: { readonly cores: number; readonly imageUser: string },
): Held {
  const limits = { ...(untrusted && UNTRUSTED), ...given(asked) };
  const { memoryBytes, cpus, pids = PIDS, shmBytes, gpus, net, mounts } = limits;
  const isRoot = /^(|0|root)(:|$)/.test(imageUser);
  return {
    user: untrusted && isRoot ? NOBODY : undefined,
    hostConfig: {
      CapDrop: untrusted ? ["ALL"] : ["NET_RAW", "MKNOD"],
      SecurityOpt: ["no-new-privileges"],
      PidsLimit: pids,
      // as much swap as memory would double what was allowed
      ...(memoryBytes !== undefined && { Memory: memoryBytes, MemorySwap: memoryBytes }),
      ...(cpus !== undefined && { NanoCpus: Math.round(Math.min(cpus, cores) * 1e9) }),
      ...(shmBytes !== undefined && { ShmSize: shmBytes }),
      ...(gpus !== undefined && { DeviceRequests: [toDeviceRequest(gpus)] }),
      NetworkMode: net ?? (untrusted ? "none" : "bridge"),
      ...(untrusted && { ReadonlyRootfs: true }),
      Mounts: (mounts ?? []).map(({ source, target, readOnly }) => ({
        Type: "bind",
        Source: source,
        Target: target,
        ReadOnly: readOnly,
      })),
    },
  };
}

/** Where the profile allows to write. */
export const scratchOf = ({ untrusted }: Confinement): Record<string, string> =>
  untrusted ? { "/tmp": "mode=1777,size=256m,exec" } : {};

const given = <T extends object>(value: T): Partial<T> =>
  Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as Partial<T>;

function toDeviceRequest(gpus: string): Record<string, unknown> {
  const ids = /^"?device=([^"]+)"?$/.exec(gpus)?.[1];
  const which = ids !== undefined
    ? { DeviceIDs: ids.split(",") }
    : gpus === "all"
    ? { Count: -1 }
    : { Count: Number(gpus) };
  if ("Count" in which && !(Number.isInteger(which.Count) && which.Count !== 0)) {
    throw new OpenboxError("limit_unsupported", `--gpus: docker does not know ${gpus}`, {
      hint: "all, a number, or device=ID,…",
    });
  }
  return { Driver: "", Capabilities: [["gpu"]], ...which };
}

/** The engine's socket is root on its machine: a mount that shows it is refused, whoever allowed it. */
export async function refuseSocket(
  mounts: readonly Mount[],
  endpoint: DockerEndpoint,
): Promise<void> {
  if (mounts.length === 0) return;
  const sockets = ["/var/run/docker.sock", ...(endpoint.kind === "unix" ? [endpoint.path] : [])];
  const hidden = await Promise.all(sockets.map((path) => Deno.realPath(path).catch(() => path)));
  for (const { source } of mounts) {
    const real = await Deno.realPath(source).catch(() => source);
    const folder = real.endsWith("/") ? real : `${real}/`;
    if (hidden.some((path) => path === real || path.startsWith(folder))) {
      throw new OpenboxError(
        "mount_not_allowed",
        `${source} holds the docker engine's own socket`,
        {
          hint: "mount a folder below it",
        },
      );
    }
  }
}
