/** What a control plane counts of itself, for `GET /metrics`. The names are documented in docs/deploy.md. */
import type { Clock } from "../clock.ts";
import { type Code, OpenboxError } from "../errors.ts";
import type { Store } from "../store/store.ts";
import { VERSION } from "../version.ts";
import { createMetrics, type Metrics } from "./metrics.ts";
import { ONLINE_MS } from "./resolve.ts";
import type { TracedRequest, Tracing } from "./tracing.ts";

export interface Observer extends Disposable {
  /** To add a gauge of one's own. */
  readonly metrics: Metrics;
  /** A request was answered; `route` is the pattern of its path, never the path itself. */
  answered(request: { readonly method: string; readonly route: string }, answer: {
    readonly status: number;
    readonly seconds: number;
  }): void;
  /** Runs `work`, which answers this request, where its trace goes on. */
  traced<T>(outgoing: object, request: TracedRequest, work: () => T): T;
  refused(code: Code): void;
  issued(kind: "user" | "host"): void;
  /** The same store, each of its calls being timed; what it holds is counted when somebody asks. */
  watch(store: Store, clock: Clock): Store;
}

const REQUEST_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5];
const DATABASE_SECONDS = [0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 3];

/** `tracing` where somebody takes the spans. */
export function createObserver({ tracing }: { tracing?: Tracing } = {}): Observer {
  const metrics = createMetrics();
  const requests = metrics.counter(
    "openbox_requests_total",
    "Requests answered, by route and status.",
    ["method", "route", "status"],
  );
  const requestSeconds = metrics.histogram(
    "openbox_request_seconds",
    "From the header of a request to its answer.",
    { labels: ["route"], buckets: REQUEST_SECONDS },
  );
  const dispatches = metrics.counter(
    "openbox_dispatches_total",
    "Dispatches answered with a node.",
  );
  const heartbeats = metrics.counter("openbox_heartbeats_total", "Heartbeats that were good.");
  const refusals = metrics.counter("openbox_refusals_total", "Requests refused, by code.", [
    "code",
  ]);
  const certificates = metrics.counter(
    "openbox_certificates_issued_total",
    "Certificates issued, by kind.",
    ["kind"],
  );
  const databaseSeconds = metrics.histogram(
    "openbox_database_seconds",
    "Calls of the database, by what was asked.",
    { labels: ["call"], buckets: DATABASE_SECONDS },
  );
  const databaseFailures = metrics.counter(
    "openbox_database_failures_total",
    "Calls that the database did not do, by what was asked.",
    ["call"],
  );
  const lag = watchEventLoop();
  metrics.gauge(
    "openbox_event_loop_lag_seconds",
    "The longest that the event loop was late since the last look.",
    () => lag.take(),
  );
  metrics.gauge("process_resident_memory_bytes", "Resident memory size in bytes.", () => {
    return Deno.memoryUsage().rss;
  });
  metrics.gauge("process_heap_bytes", "Heap in use in bytes.", () => Deno.memoryUsage().heapUsed);
  metrics.gauge("openbox_build_info", "The version that runs; always 1.", () => [
    { labels: { version: VERSION, deno: Deno.version.deno }, value: 1 },
  ]);

  return {
    metrics,
    answered({ method, route }, { status, seconds }) {
      requests(method, route, String(status));
      requestSeconds(seconds, route);
      if (status !== 200) return;
      if (route === "/v1/dispatch") dispatches();
      else if (route === "/v1/nodes/heartbeat") heartbeats();
    },
    traced: (outgoing, request, work) =>
      tracing ? tracing.request(outgoing, request, work) : work(),
    refused: (code) => refusals(code),
    issued: (kind) => certificates(kind),
    watch(store, clock) {
      countHeld(metrics, store, clock);
      return timed(store, tracing, (call, seconds, error) => {
        databaseSeconds(seconds, call);
        const failed = error instanceof OpenboxError && error.code === "database_unavailable";
        if (failed) databaseFailures(call);
      });
    },
    [Symbol.dispose]: () => lag[Symbol.dispose](),
  };
}

function countHeld(metrics: Metrics, store: Store, clock: Clock): void {
  metrics.gauge("openbox_nodes", "Nodes, and whether they are heard from.", async () => {
    const { total, heard } = await store.countNodes(clock.now() - ONLINE_MS);
    return [
      { labels: { state: "online" }, value: heard },
      { labels: { state: "offline" }, value: total - heard },
    ];
  });
  metrics.gauge("openbox_audit_records", "Records in the audit.", async () => {
    return (await store.auditHead()).seq;
  });
}

type Timed = (call: string, seconds: number, error?: unknown) => void;

/** Methods are wrapped once each, when they are first asked for. */
function timed(store: Store, tracing: Tracing | undefined, report: Timed): Store {
  const wrapped = new Map<string, { readonly value: unknown; readonly call: unknown }>();
  return new Proxy(store, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      if (typeof name === "symbol") return value.bind(target);
      const known = wrapped.get(name);
      if (known?.value === value) return known.call;
      const call = (...parameters: unknown[]): unknown => {
        const start = performance.now();
        const seconds = () => (performance.now() - start) / 1000;
        const work = (): unknown => value.apply(target, parameters);
        const result = tracing ? tracing.call(`store.${name}`, work) : work();
        if (result instanceof Promise) {
          result.then(() => report(name, seconds()), (error) => report(name, seconds(), error));
        }
        return result;
      };
      wrapped.set(name, { value, call });
      return call;
    },
  });
}

const LOOK_MS = 500;

/** A timer that comes late tells how long everything else waited. */
function watchEventLoop(): Disposable & { take(): number } {
  let expected = performance.now() + LOOK_MS, worst = 0;
  const look = () => Math.max(0, performance.now() - expected);
  const timer = setInterval(() => {
    worst = Math.max(worst, look());
    expected = performance.now() + LOOK_MS;
  }, LOOK_MS);
  return {
    take() {
      const late = Math.max(worst, look()) / 1000;
      worst = 0;
      return late;
    },
    [Symbol.dispose]: () => clearInterval(timer),
  };
}
