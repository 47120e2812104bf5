/**
 * Numbers in the text format of Prometheus. A count costs a look into a map; everything else is done
 * when somebody asks. Labels are ours (routes, codes), never what a caller sent, so their number is small.
 */
export interface Metrics {
  counter(name: string, help: string, labels?: readonly string[]): Counter;
  histogram(name: string, help: string, options: HistogramOptions): Histogram;
  /** `read` is asked for each text; one that fails leaves its number out of it. */
  gauge(name: string, help: string, read: () => Samples | Promise<Samples>): void;
  text(): Promise<string>;
}

/** One more, of these values of the labels, in their order. */
export type Counter = (...values: readonly string[]) => void;
export type Histogram = (seconds: number, ...values: readonly string[]) => void;

export interface HistogramOptions {
  readonly labels: readonly string[];
  /** Upper bounds, rising. */
  readonly buckets: readonly number[];
}

/** A number; several, each with its labels; or undefined for none. */
export type Samples = number | undefined | readonly Sample[];
export interface Sample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

export function createMetrics(): Metrics {
  const parts: (() => string | Promise<string>)[] = [];
  return {
    counter(name, help, labels = []) {
      const counts = new Map<string, number>();
      if (labels.length === 0) counts.set("", 0);
      parts.push(() => {
        const lines = [...counts].map(([key, count]) => `${name}${key} ${count}\n`);
        return head(name, help, "counter") + lines.join("");
      });
      return (...values) => {
        const key = labelText(labels, values);
        counts.set(key, (counts.get(key) ?? 0) + 1);
      };
    },
    histogram(name, help, { labels, buckets }) {
      const series = new Map<string, { readonly counts: number[]; sum: number; count: number }>();
      parts.push(() => {
        const lines = [...series].flatMap(([key, { counts, sum, count }]) => {
          let below = 0;
          return [
            ...buckets.map((bound, i) =>
              `${name}_bucket${withLabel(key, "le", String(bound))} ${below += counts[i]!}\n`
            ),
            `${name}_bucket${withLabel(key, "le", "+Inf")} ${count}\n`,
            `${name}_sum${key} ${sum}\n${name}_count${key} ${count}\n`,
          ];
        });
        return head(name, help, "histogram") + lines.join("");
      });
      return (seconds, ...values) => {
        const key = labelText(labels, values);
        let one = series.get(key);
        if (!one) series.set(key, one = { counts: buckets.map(() => 0), sum: 0, count: 0 });
        const bucket = buckets.findIndex((bound) => seconds <= bound);
        if (bucket >= 0) one.counts[bucket]!++;
        one.sum += seconds;
        one.count++;
      };
    },
    gauge(name, help, read) {
      parts.push(async () => head(name, help, "gauge") + gaugeLines(name, await read()));
    },
    async text() {
      const texts = await Promise.allSettled(parts.map(async (part) => await part()));
      return texts.map((one) => one.status === "fulfilled" ? one.value : "").join("");
    },
  };
}

const head = (name: string, help: string, type: string): string =>
  `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;

function gaugeLines(name: string, samples: Samples): string {
  if (samples === undefined) return "";
  if (typeof samples === "number") return `${name} ${samples}\n`;
  return samples.map(({ labels, value }) =>
    `${name}${labelText(Object.keys(labels), Object.values(labels))} ${value}\n`
  ).join("");
}

function labelText(names: readonly string[], values: readonly string[]): string {
  if (names.length === 0) return "";
  return `{${names.map((name, i) => `${name}="${escapeValue(values[i] ?? "")}"`).join(",")}}`;
}

const withLabel = (key: string, name: string, value: string): string =>
  key === "" ? `{${name}="${value}"}` : `${key.slice(0, -1)},${name}="${value}"}`;

const escapeValue = (value: string): string =>
  value.replace(/[\\"\n]/g, (char) => char === "\n" ? "\\n" : `\\${char}`);
