/**
 * Containers that an agent before this one left: they are told by their labels. By the built-in fetch,
 * since this happens at each start, and dockerode is loaded only where something runs in docker.
 */
import type { DockerEndpoint } from "./endpoint.ts";

export const OWNER_LABEL = "io.openbox.owner", BOOT_LABEL = "io.openbox.boot";

export interface Ownership {
  /** The node. */
  readonly owner: string;
  /** This start of its agent. */
  readonly boot: string;
}

export const labelsOf = ({ owner, boot }: Ownership): Record<string, string> => ({
  [OWNER_LABEL]: owner,
  [BOOT_LABEL]: boot,
});

/** Removes them with all that runs in them. Returns how many there were. */
export async function reapContainers(
  endpoint: DockerEndpoint,
  { owner, boot }: Ownership,
  signal: AbortSignal,
): Promise<number> {
  using client = createClient(endpoint);
  const filters = JSON.stringify({ label: [`${OWNER_LABEL}=${owner}`] });
  const base = endpoint.kind === "unix"
    ? "http://docker"
    : `${endpoint.tls ? "https" : "http"}://${endpoint.hostname}:${endpoint.port}`;
  const listed = await fetch(
    `${base}/containers/json?all=1&filters=${encodeURIComponent(filters)}`,
    { client, signal },
  );
  if (!listed.ok) throw new Error(`docker answered ${listed.status}: ${await listed.text()}`);
  const containers: { Id: string; Labels: Record<string, string> }[] = await listed.json();
  const left = containers.filter(({ Labels }) => Labels[BOOT_LABEL] !== boot);
  await Promise.all(left.map(async ({ Id }) => {
    const url = `${base}/containers/${encodeURIComponent(Id)}?force=1&v=1`;
    const answer = await fetch(url, { method: "DELETE", client, signal });
    await answer.body?.cancel();
  }));
  return left.length;
}

function createClient(endpoint: DockerEndpoint): Deno.HttpClient {
  if (endpoint.kind === "unix") {
    return Deno.createHttpClient({ proxy: { transport: "unix", path: endpoint.path } });
  }
  const { tls } = endpoint;
  return Deno.createHttpClient(
    tls ? { caCerts: [tls.ca], cert: tls.cert, key: tls.key } : {},
  );
}
