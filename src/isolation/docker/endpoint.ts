/**
 * Where the docker engine listens, found as the docker CLI finds it: `DOCKER_HOST`, then the current
 * context, then the sockets that the usual engines make.
 */
import { OpenboxError } from "../../errors.ts";

/** What of its surroundings docker looks at. */
export interface DockerPlace {
  env(name: string): string | undefined;
  readonly home: string;
}

export type DockerEndpoint =
  | { readonly kind: "unix"; readonly path: string }
  | {
    readonly kind: "tcp";
    readonly hostname: string;
    readonly port: number;
    readonly tls: TlsFiles | undefined;
  };

/** PEM texts. */
export interface TlsFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** The folder of docker's own settings. */
export const dockerFolder = ({ env, home }: DockerPlace): string =>
  env("DOCKER_CONFIG") || `${home}/.docker`;

/** Throws `docker_unavailable` where there is none. */
export async function findDockerEndpoint(place: DockerPlace): Promise<DockerEndpoint> {
  const { env } = place, host = env("DOCKER_HOST");
  if (host) return await byHost(host, place);
  const context = env("DOCKER_CONTEXT") || await currentContext(place);
  if (context && context !== "default") return await byContext(context, place);
  for (const path of usualSockets(place)) {
    if (await isSocket(path)) return { kind: "unix", path };
  }
  throw new OpenboxError("docker_unavailable", "No docker engine was found on the node", {
    hint: "install and start docker there, or start the agent with DOCKER_HOST",
  });
}

function usualSockets({ env, home }: DockerPlace): string[] {
  const runtime = env("XDG_RUNTIME_DIR");
  return [
    "/var/run/docker.sock",
    `${home}/.docker/run/docker.sock`,
    `${home}/.docker/desktop/docker.sock`,
    `${home}/.colima/default/docker.sock`,
    `${home}/.orbstack/run/docker.sock`,
    ...(runtime ? [`${runtime}/docker.sock`, `${runtime}/podman/podman.sock`] : []),
    "/run/podman/podman.sock",
  ];
}

const isSocket = (path: string): Promise<boolean> =>
  Deno.stat(path).then(({ isSocket }) => isSocket === true, () => false);

async function byHost(host: string, place: DockerPlace): Promise<DockerEndpoint> {
  const { env } = place;
  if (!env("DOCKER_TLS_VERIFY")) return await parseHost(host, "DOCKER_HOST");
  const folder = env("DOCKER_CERT_PATH") || dockerFolder(place);
  return await parseHost(host, "DOCKER_HOST", () => readTls(folder));
}

async function parseHost(
  host: string,
  from: string,
  tls: () => Promise<TlsFiles | undefined> = () => Promise.resolve(undefined),
): Promise<DockerEndpoint> {
  const [, scheme, rest] = /^([a-z]+):\/\/(.*)$/.exec(host) ?? [];
  if (scheme === "unix" && rest?.startsWith("/")) return { kind: "unix", path: rest };
  if (scheme === "ssh") {
    throw new OpenboxError("docker_unavailable", `${from} is ${host}, and ssh is not served`, {
      hint: "enroll that machine as a node of its own, or forward its socket: ssh -L",
    });
  }
  const url = scheme === "tcp" ? URL.parse(`http://${rest}`) : null;
  if (!url || url.hostname === "") {
    throw new OpenboxError("docker_unavailable", `${from} is no docker host: ${host}`, {
      hint: "unix:///path/to/docker.sock or tcp://HOST:PORT",
    });
  }
  const files = await tls();
  const port = url.port ? Number(url.port) : /:80$/.test(rest!) ? 80 : files ? 2376 : 2375;
  return { kind: "tcp", hostname: url.hostname.replace(/^\[|\]$/g, ""), port, tls: files };
}

async function readTls(folder: string): Promise<TlsFiles> {
  const [ca, cert, key] = await Promise.all(["ca", "cert", "key"].map((name) => {
    const path = `${folder}/${name}.pem`;
    return Deno.readTextFile(path).catch((cause) => {
      throw new OpenboxError(
        "docker_unavailable",
        `Cannot read ${path}, which docker's TLS needs`,
        {
          hint: "DOCKER_CERT_PATH names the folder of ca.pem, cert.pem and key.pem",
          cause,
        },
      );
    });
  }));
  return { ca: ca!, cert: cert!, key: key! };
}

async function currentContext(place: DockerPlace): Promise<string | undefined> {
  const config = await readJson(`${dockerFolder(place)}/config.json`);
  const name = config?.currentContext;
  return typeof name === "string" ? name : undefined;
}

async function byContext(name: string, place: DockerPlace): Promise<DockerEndpoint> {
  const contexts = `${dockerFolder(place)}/contexts`;
  const digest = new Uint8Array(
    await crypto.subtle.digest("SHA-256", new TextEncoder().encode(name)),
  ).toHex();
  const meta = await readJson(`${contexts}/meta/${digest}/meta.json`);
  const { Host: host, SkipTLSVerify: unverified } =
    (meta?.Endpoints as Record<string, Record<string, unknown>> | undefined)?.docker ?? {};
  if (typeof host !== "string") {
    throw new OpenboxError("docker_unavailable", `There is no docker context ${name}`, {
      hint: "docker context ls, as the agent's login, shows what there is",
    });
  }
  if (unverified === true) {
    throw new OpenboxError(
      "docker_unavailable",
      `The docker context ${name} does not verify its engine, which openbox does not do`,
      { hint: "docker context update --docker with a ca" },
    );
  }
  const folder = `${contexts}/tls/${digest}/docker`;
  const hasTls = await Deno.stat(folder).then(() => true, () => false);
  return await parseHost(
    host,
    `The docker context ${name}`,
    () => hasTls ? readTls(folder) : Promise.resolve(undefined),
  );
}

/** Undefined where it is not there, or no JSON object: docker then does without it as well. */
export async function readJson(path: string): Promise<Record<string, unknown> | undefined> {
  try {
    const value = JSON.parse(await Deno.readTextFile(path));
    return typeof value === "object" && value !== null ? value : undefined;
  } catch {
    return undefined;
  }
}
