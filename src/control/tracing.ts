/**
 * Spans for Deno's own OpenTelemetry, loaded where that is switched on (OTEL_DENO). Deno makes a span for
 * each request; here it gets its route's name and becomes the parent of the spans of the database's calls.
 */
import { context, type Span, SpanStatusCode, trace } from "@opentelemetry/api";
import { OpenboxError } from "../errors.ts";

export interface TracedRequest {
  readonly method: string;
  /** The pattern of its path; undefined where it fits none. */
  readonly route: string | undefined;
}

export interface Tracing {
  /** Runs `work` inside the span of this answer, a node ServerResponse. */
  request<T>(outgoing: object, request: TracedRequest, work: () => T): T;
  /** Runs `work` inside a span of its own. */
  call(name: string, work: () => unknown): unknown;
}

export function createTracing(): Tracing {
  const tracer = trace.getTracer("openbox");
  return {
    request(outgoing, { method, route }, work) {
      const span = spanOf(outgoing);
      if (!span) return work();
      if (route !== undefined) {
        span.updateName(`${method} ${route}`);
        span.setAttribute("http.route", route);
      }
      return context.with(trace.setSpan(context.active(), span), work);
    },
    call(name, work) {
      const span = tracer.startSpan(name);
      const result = context.with(trace.setSpan(context.active(), span), work);
      if (result instanceof Promise) {
        result.then(() => span.end(), (error) => endFailed(span, error));
      } else span.end();
      return result;
    },
  };
}

/** Deno keeps it at the answer and gives no other way to it (2.9.6: it is not the active one in node:http). */
function spanOf(outgoing: object): Span | undefined {
  const key = Object.getOwnPropertySymbols(outgoing)
    .find(({ description }) => description === "kOtelSpan");
  return key && (outgoing as Record<symbol, Span | undefined>)[key];
}

/** What the words of an error hold nobody knows: its code says enough. */
function endFailed(span: Span, error: unknown): void {
  const message = error instanceof OpenboxError ? error.code : "internal";
  span.setStatus({ code: SpanStatusCode.ERROR, message });
  span.end();
}
