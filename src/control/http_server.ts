/**
 * The listening side: limits on time, sizes and connections before any of our code runs, TLS where it
 * is configured, and an end that lets go on what is being answered.
 */
import { getRequestListener } from "@hono/node-server";
import { Buffer } from "node:buffer";
import { createServer, IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { ErrorBody } from "../api/error.ts";
import { type Code, httpStatus, OpenboxError } from "../errors.ts";
import { newRequestId } from "../ids.ts";
import { log } from "../log.ts";
import { maskTokens } from "../log_value.ts";
import { watchAccepting } from "./accept_watch.ts";
import type { App } from "./app.ts";
import type { ListenAddress } from "./listen_address.ts";

export interface HttpLimits {
  /** From the first byte of a connection or request to the end of its header. */
  readonly headersTimeout: number;
  /** To the end of its body. */
  readonly requestTimeout: number;
  readonly keepAliveTimeout: number;
  readonly connectionsCheckingInterval: number;
  readonly maxHeaderSize: number;
  readonly maxConnections: number;
  /** What is being answered when the end comes has this long, in milliseconds as all of these. */
  readonly drainTimeout: number;
}

const LIMITS: HttpLimits = {
  headersTimeout: 15_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 10_000,
  connectionsCheckingInterval: 2_000,
  maxHeaderSize: 16 * 1024,
  maxConnections: 4096,
  drainTimeout: 10_000,
};

const TLS = { minVersion: "TLSv1.2" } as const;

export interface HttpServer extends AsyncDisposable {
  readonly address: AddressInfo;
  /** Connections from now on are shown this one; those that are open go on. Only for a server with TLS. */
  useTls(pair: TlsPair): void;
}

export interface TlsPair {
  readonly cert: string;
  readonly key: string;
}

/** Disposing it answers what came so far and then ends; nothing new is taken. */
export async function listen(
  app: Pick<App, "fetch">,
  options: {
    readonly address: ListenAddress;
    readonly tls?: TlsPair;
    readonly limits?: Partial<HttpLimits>;
  },
): Promise<HttpServer> {
  const { address, tls } = options, limits = { ...LIMITS, ...options.limits };
  let ending = false;
  const answer = getRequestListener(app.fetch, {
    errorHandler: badRequest,
    // it would read on for half a second; the app closes the connection of a body that it left
    autoCleanupIncoming: false,
  });
  const answering = new Set<ServerResponse>();
  const onRequest = (incoming: IncomingMessage, outgoing: ServerResponse) => {
    outgoing.shouldKeepAlive &&= !ending;
    answering.add(outgoing);
    outgoing.on("close", () => answering.delete(outgoing));
    answer(incoming, outgoing);
  };
  const tlsServer = tls && createTlsServer(
    { ...limits, ...MASKED, ...tls, ...TLS, handshakeTimeout: limits.headersTimeout },
    onRequest,
  );
  const server: Server = tlsServer ?? createServer({ ...limits, ...MASKED }, onRequest);
  server.maxConnections = limits.maxConnections;
  server.on("clientError", refuse);
  // node would answer an expectation that it does not know with a 417 and no word; we expect nothing of it
  server.on("checkExpectation", onRequest);
  await opened(server, address);
  server.on("error", (error) => log("control").error("listening failed", { error }));
  const bound = server.address() as AddressInfo;
  const watch = watchAccepting(server, {
    listenAgain: () => server.listen({ port: bound.port, host: address.hostname }),
  });
  return {
    address: bound,
    useTls: (pair) => tlsServer?.setSecureContext({ ...pair, ...TLS }),
    [Symbol.asyncDispose]() {
      watch[Symbol.dispose]();
      ending = true;
      for (const outgoing of answering) outgoing.shouldKeepAlive = false;
      return drained(server, limits.drainTimeout);
    },
  };
}

/**
 * A token has no place in a URL, and one that a caller put there comes no further: Deno writes the URL
 * into spans before any of our code runs.
 */
class MaskedMessage extends IncomingMessage {
  #url: string | undefined;
  static {
    Object.defineProperty(this.prototype, "url", {
      get(this: MaskedMessage) {
        return #url in this ? this.#url : undefined;
      },
      // the parent's constructor sets it to nothing before there is a place for it
      set(this: MaskedMessage, url: string | undefined) {
        if (#url in this) this.#url = url && maskTokens(url);
      },
    });
  }
}
const MASKED = {
  IncomingMessage: MaskedMessage,
  requireHostHeader: false, // the app refuses one without, in our own words
};

function opened(server: Server, { hostname, port }: ListenAddress): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", (error: NodeJS.ErrnoException) => {
      const where = `${hostname ?? "every address"}, port ${port}`;
      reject(
        new OpenboxError(
          error.code === "EADDRINUSE" ? "conflict" : "bad_setting",
          `Cannot listen on ${where}: ${WHY[error.code ?? ""] ?? error.message}`,
          { hint: "--addr HOST:PORT names another", cause: error },
        ),
      );
    });
    server.listen({ port, host: hostname }, resolve);
  });
}

const WHY: Readonly<Record<string, string>> = {
  EADDRINUSE: "something listens there already",
  EACCES: "the system reserves it",
  EADDRNOTAVAIL: "this machine has no such address",
  EINVAL: "this machine has no such address", // what Deno makes of it
};

function drained(server: Server, timeoutMs: number): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearInterval(idle);
      clearTimeout(late);
      resolve();
    };
    // a connection is idle once its answer is out; nothing tells when, so it is looked for
    const idle = setInterval(() => server.closeIdleConnections(), 50);
    const late = setTimeout(() => {
      server.closeAllConnections();
      end();
    }, timeoutMs);
    server.close(end);
    server.closeIdleConnections();
  });
}

/** What the parser refused, and who took too long: answered flat, as everything, and hung up. */
function refuse(error: NodeJS.ErrnoException, socket: Socket): void {
  const answer = REFUSED[error.code ?? ""] ??
    (error.code?.startsWith("HPE_") ? NOT_HTTP : undefined);
  // in a TLS handshake, or with nobody there, an answer would never be out
  if (!answer || !socket.writable) return void socket.destroy();
  const [code, text] = answer;
  const body = Buffer.from(JSON.stringify(errorBody(code, text)));
  const status = error.code === TIMED_OUT ? 408 : httpStatus(code);
  socket.end(
    `HTTP/1.1 ${status} Refused\r\nContent-Type: application/json\r\n` +
      `Content-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
    () => socket.destroy(),
  );
}

const TIMED_OUT = "ERR_HTTP_REQUEST_TIMEOUT";
const NOT_HTTP: readonly [Code, string] = [
  "bad_request",
  "This is not an HTTP request that can be read",
];
const REFUSED: Readonly<Record<string, readonly [Code, string]>> = {
  HPE_HEADER_OVERFLOW: ["header_too_large", "The request's header is too long"],
  [TIMED_OUT]: ["bad_request", "The request took too long to arrive"],
};

/** A URL or Host header that cannot be read; the routes have their own way out for errors. */
const badRequest = (): Response =>
  Response.json(errorBody("bad_request", "The request's address or Host header cannot be read"), {
    status: 400,
  });

const errorBody = (code: Code, error: string): ErrorBody => ({
  error,
  code,
  request_id: newRequestId(),
});
