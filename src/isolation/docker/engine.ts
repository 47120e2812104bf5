/** The docker engine behind its socket: calls with a deadline, and failures as the person is told them. */
import { abortable, type AbortOptions, deadline } from "../../abort.ts";
import { OpenboxError } from "../../errors.ts";
import { type DockerEndpoint, type DockerPlace, findDockerEndpoint } from "./endpoint.ts";
import { EngineRefusal, hijack, type Wire } from "./hijack.ts";

/** What is used of dockerode. */
export interface Dockerode {
  createContainer(options: unknown): Promise<{ readonly id: string }>;
  getContainer(id: string): {
    start(): Promise<unknown>;
    remove(options: { force: boolean; v: boolean }): Promise<unknown>;
    exec(options: unknown): Promise<{ readonly id: string }>;
    infoArchive(options: { path: string }): Promise<{
      readonly headers: Record<string, string>;
      resume(): void;
    }>;
  };
  getExec(id: string): {
    inspect(): Promise<{ readonly Running: boolean; readonly ExitCode: number | null }>;
    resize(options: { w: number; h: number }): Promise<unknown>;
  };
  getImage(name: string): { inspect(): Promise<ImageFacts> };
  createImage(auth: unknown, options: Record<string, string>): Promise<ProgressStream>;
  info(): Promise<{ readonly NCPU: number }>;
}

export interface ImageFacts {
  readonly Id: string;
  readonly Config: {
    readonly Entrypoint?: readonly string[] | null;
    readonly WorkingDir?: string;
    readonly User?: string;
  } | null;
}

/** Of node:stream, what is used of it. */
export interface ProgressStream extends AsyncIterable<Uint8Array> {
  destroy(): void;
}

export interface CallOptions extends AbortOptions {
  /** For the engine to answer, in milliseconds. */
  readonly ms?: number;
  /** What is told where it does not. */
  late?(): Error;
}

export interface Engine {
  readonly endpoint: DockerEndpoint;
  /** Throws `docker_unavailable` where the engine cannot be asked; what it refuses, as EngineRefusal. */
  call<T>(act: (docker: Dockerode) => Promise<T>, options?: CallOptions): Promise<T>;
  /** Throws as `call` does. */
  stream(path: string, body: unknown, options?: CallOptions): Promise<Wire>;
}

export const ANSWER_MS = 10_000;
/** Behind the deadline of the call, so that a request to an engine that hangs does not stay for ever. */
const SILENCE_MS = 120_000;

export async function openEngine(place: DockerPlace): Promise<Engine> {
  const endpoint = await findDockerEndpoint(place);
  const { default: Docker } = await import("dockerode");
  const docker: Dockerode = new Docker({ ...address(endpoint), timeout: SILENCE_MS });
  return {
    endpoint,
    async call(act, { ms = ANSWER_MS, late = () => silent(endpoint, ms), signal } = {}) {
      using limit = deadline(ms, late, { signal });
      try {
        return await abortable(act(docker), limit.signal);
      } catch (error) {
        throw translate(error, endpoint);
      }
    },
    async stream(path, body, { ms = ANSWER_MS, late = () => silent(endpoint, ms), signal } = {}) {
      using limit = deadline(ms, late, { signal });
      try {
        return await hijack(endpoint, path, body, limit.signal);
      } catch (error) {
        throw translate(error, endpoint);
      }
    },
  };
}

function address(endpoint: DockerEndpoint): Record<string, unknown> {
  if (endpoint.kind === "unix") return { socketPath: endpoint.path };
  const { hostname, port, tls } = endpoint;
  return { host: hostname, port, protocol: tls ? "https" : "http", ...tls };
}

export function describeEndpoint(endpoint: DockerEndpoint): string {
  return endpoint.kind === "unix" ? endpoint.path : `tcp://${endpoint.hostname}:${endpoint.port}`;
}

const silent = (endpoint: DockerEndpoint, ms: number) =>
  new OpenboxError(
    "docker_unavailable",
    `The docker engine at ${describeEndpoint(endpoint)} did not answer within ${ms / 1000} s`,
    { hint: "it is stopped or overloaded: restart it on the node, systemctl restart docker" },
  );

/** A failed connection as `docker_unavailable`, an answer that says no as EngineRefusal, the rest as it is. */
export function translate(error: unknown, endpoint: DockerEndpoint): unknown {
  if (error instanceof OpenboxError) return error;
  const { statusCode, json, code, name, message } = error as {
    statusCode?: number;
    json?: { message?: string };
    code?: string;
    name?: string;
    message?: string;
  };
  if (statusCode !== undefined) {
    return new EngineRefusal(statusCode, (json?.message ?? message ?? "no reason given").trim());
  }
  const at = describeEndpoint(endpoint);
  if (code === "EACCES" || code === "EPERM" || name === "PermissionDenied") {
    return new OpenboxError(
      "docker_unavailable",
      `The agent may not use the docker engine at ${at}`,
      {
        hint: "sudo usermod -aG docker LOGIN for the agent's login, then start the agent anew",
        cause: error,
      },
    );
  }
  if (name === "AbortError" || name === "TimeoutError") return error;
  return new OpenboxError(
    "docker_unavailable",
    `Nothing answers as docker engine at ${at}: ${message}`,
    { hint: "start it on the node: systemctl start docker, or Docker Desktop", cause: error },
  );
}

/** What the engine refused, for the person: `what` is what was to be done. */
export function toldRefusal(error: unknown, what: string): unknown {
  if (!(error instanceof EngineRefusal)) return error;
  const full = /no space left on device/i.test(error.reason);
  return new OpenboxError("docker_unavailable", `Docker cannot ${what}: ${error.reason}`, {
    hint: full
      ? "docker system prune on the node makes room"
      : "docker's own log on the node says more",
    cause: error,
  });
}
