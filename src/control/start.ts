/** The control plane as one thing that runs: composed here, and ended in the reverse order. */
import { networkInterfaces } from "node:os";
import type { AbortOptions } from "../abort.ts";
import { utf8 } from "../bytes.ts";
import { isInsecure, parseServerUrl } from "../client/server_url.ts";
import type { Clock } from "../clock.ts";
import { OpenboxError, toOpenboxError } from "../errors.ts";
import { networkFileSystem } from "../home/network_file_system.ts";
import { createPrivateFile, readPrivateFile } from "../home/private_file.ts";
import type { Host } from "../host.ts";
import { newProcessId, newUserToken } from "../ids.ts";
import { log, startLog } from "../log.ts";
import { Secret } from "../secret.ts";
import { quoteWord } from "../shell_word.ts";
import { openSqliteStore } from "../store/sqlite.ts";
import type { AuditHead } from "../store/audit.ts";
import type { Store } from "../store/store.ts";
import { takeSupervisor } from "../supervisor.ts";
import { VERSION } from "../version.ts";
import { signStatement } from "../ca/operations.ts";
import { exportAudit } from "./audit_export.ts";
import { keepHead, readKeptHead, requireKeptHead } from "./kept_head.ts";
import { answers } from "./answers.ts";
import { createApp } from "./app.ts";
import { createDoor } from "./door.ts";
import { bootstrap, bySystem, type FirstToken, newToken, USER_TOKEN_MS } from "./bootstrap.ts";
import { openControlCa } from "./ca.ts";
import { createDenials, type Denials } from "./denials.ts";
import { trustProxies } from "./forwarded.ts";
import { listen, type TlsPair } from "./http_server.ts";
import type { ListenAddress } from "./listen_address.ts";
import { createObserver } from "./observe.ts";
import { loadOperationsKey, openOperations, operationsKeyPlace } from "./operations.ts";
import { createRateLimit } from "./rate_limit.ts";
import { createRevocationLists } from "./revocation_lists.ts";
import { running } from "./running.ts";
import { createSerials } from "./serials.ts";
import type { ControlSettings } from "./settings.ts";
import { readTlsPair } from "./tls_pair.ts";
import { reloadTls } from "./tls_reload.ts";
import type { Tracing } from "./tracing.ts";

export interface ControlOverrides {
  readonly store?: Store;
  /** How many refused secrets an address may show, in a minute. */
  readonly refusalsPerMinute?: number;
}

/** A running control plane. Disposing it answers what came so far, writes what it held, and closes. */
export interface RunningControl extends AsyncDisposable {
  readonly address: { readonly hostname: string; readonly port: number };
  /** What to log in to. */
  readonly url: string;
  readonly caFingerprint: string;
  readonly caLocked: boolean;
  readonly firstToken: FirstToken;
  /** Rejects where its own port answers nothing before the signal aborts. */
  answers(options: Required<AbortOptions>): Promise<void>;
}

const FLUSH_MS = 5000;
/** A timer may fire this late on a machine that is busy. */
const LATE_MS = 30_000;
const REFUSALS_PER_MINUTE = 20;
/** Of one node, a hundred events each: more than it can run, and less than would fill a disk. */
const RUN_REPORTS = { perSecond: 10, burst: 300 };
/** Far above what people need, far below what fills tables. */
const NEW_TOKENS_PER_MINUTE = 60;

export async function startControl(
  settings: ControlSettings,
  host: Host,
  overrides: ControlOverrides = {},
): Promise<RunningControl> {
  const { clock } = host;
  await using stack = new AsyncDisposableStack();
  const door = createDoor();
  const tls = settings.tls && await readTlsPair(settings.tls);
  const listenNow = () => listen(door, { address: settings.listen, tls });
  const shared = settings.database.kind === "postgres";
  await using early = new AsyncDisposableStack();
  // a database elsewhere may be away for long: until it is there, the door says so
  const listening = shared ? early.use(await listenNow()) : undefined;
  const observer = stack.use(createObserver({ tracing: await startTracing(settings) }));
  const store = observer.watch(
    stack.use(overrides.store ?? await openStore(settings, host)),
    clock,
  );
  const firstStart = await store.firstAccount() === undefined;
  const nextSerial = createSerials((count) => store.reserveSerials(count, clock.now()));
  const passphrase = await readPassphrase(settings.caPassphrase);
  const ca = await openControlCa(settings.ca, {
    store,
    clock,
    nextSerial,
    passphrase,
    firstStart,
    shared,
  });
  const operationsKey = await loadOperationsKey(settings.operationsKey);
  const operations = openOperations({
    key: operationsKey,
    replace: operationsKeyPlace(settings.operationsKey),
    store,
    authority: async () => (await ca.now()).authority(),
    clock,
  });
  const perMinute = overrides.refusalsPerMinute ?? REFUSALS_PER_MINUTE;

  const { auditHead, auditSyslog: syslog } = settings;
  const keptHead = async () => auditHead === undefined ? undefined : await readKeptHead(auditHead);
  const kept = await keptHead();
  if (kept) await tellBroken(kept, store);

  const denials = createDenials({ store, clock });
  stack.use(flushing({ store, denials, clock }));
  const server = listening ?? early.use(await listenNow());
  // what is being answered needs all the rest: it ends first
  stack.use(early.move());
  if (settings.tls && tls) {
    stack.use(reloadTls(settings.tls, { clock, current: tls, use: (pair) => server.useTls(pair) }));
  }
  // after the port is ours: a token shown by a start that fails would be lost
  const first = await bootstrap(store, {
    settings: settings.bootstrap,
    terminal: host.stdout.isTerminal(),
    now: clock.now(),
  });
  door.open(createApp({
    store,
    ca,
    revocationLists: createRevocationLists({ store, operations, clock }),
    clock,
    loopback: settings.listen.loopback,
    publicUrl: settings.publicUrl,
    proxies: trustProxies(settings.behindProxy),
    proxiesOnly: !tls && !settings.listen.loopback && !settings.insecureHttp,
    observer,
    requests: createRateLimit(
      { perSecond: settings.sourceLimit, burst: 2 * settings.sourceLimit },
      clock,
    ),
    logins: createRateLimit({ perSecond: 1 / 60, burst: 1 }, clock),
    runReports: createRateLimit(RUN_REPORTS, clock),
    dispatches: createRateLimit(
      { perSecond: settings.dispatchLimit, burst: 2 * settings.dispatchLimit },
      clock,
    ),
    newTokens: createRateLimit({
      perSecond: NEW_TOKENS_PER_MINUTE / 60,
      burst: NEW_TOKENS_PER_MINUTE,
    }, clock),
    refusals: createRateLimit({ perSecond: perMinute / 60, burst: perMinute }, clock),
    denials,
    keptHead,
    tokenUsed: first.tokenUsed,
  }));
  stack.use(running((signal) =>
    exportAudit({
      store,
      clock,
      sign: async (payload) =>
        signStatement(await operations.signer(), "openbox-audit-head-v1", payload),
      kept,
      keep: auditHead === undefined ? undefined : keepHead(auditHead),
      syslog,
      holder: newProcessId(),
    }, signal)
  ));

  await recordStart(settings, store, clock);

  const { address, port } = server.address;
  const { fingerprint: caFingerprint, locked } = await ca.now();
  const owned = stack.move();
  return {
    address: { hostname: address, port },
    url: settings.publicUrl ?? reachedAs(settings.listen, port, tls),
    caFingerprint,
    caLocked: locked,
    firstToken: first.first,
    answers: (options) =>
      answers({ address: { host: address, port }, tls: tls !== undefined }, options),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** It goes on in any case: who is to be told is the operator. */
async function tellBroken(kept: AuditHead, store: Store): Promise<void> {
  try {
    await requireKeptHead(kept, store);
  } catch (error) {
    log("control", "audit").error("the audit is not as it was: {error}", {
      error: toOpenboxError(error),
    });
  }
}

/** With what it was started is what changes of its settings come to. */
async function recordStart(settings: ControlSettings, store: Store, clock: Clock): Promise<void> {
  const { listen, publicUrl, dispatchLimit, tls, auditSyslog } = settings;
  const entry = bySystem("control.start", clock.now(), {
    version: VERSION,
    listen: `${listen.hostname ?? "*"}:${listen.port}`,
    url: publicUrl ?? null,
    tls: tls !== undefined,
    dispatch_limit: dispatchLimit,
    syslog: auditSyslog !== undefined,
  });
  try {
    await store.recordAudit([entry]);
  } catch (error) {
    // it serves what can be served without a record
    log("control").error("the start cannot be recorded: {error}", { error: toOpenboxError(error) });
  }
}

/** Runs until the host's signal; or makes a token and ends, where that is what was asked for. */
export async function runControl(settings: ControlSettings, host: Host): Promise<void> {
  if (settings.newToken !== undefined) {
    return await printNewToken(settings.newToken, settings, host);
  }
  await using _log = await startLog(host);
  const supervisor = takeSupervisor(host, { directory: settings.home });
  if (!settings.tls && settings.insecureHttp && !settings.listen.loopback) {
    log("control").warn(
      "plain HTTP to other machines: whoever is on the network can read the tokens",
    );
  }
  await using control = await startControl(settings, host);
  await warnNetwork(settings);
  await host.stdout.write(utf8(startLines(control)));
  await using _supervised = await supervisor.ready((options) => control.answers(options));
  if (!host.signal.aborted) {
    await new Promise((resolve) => host.signal.addEventListener("abort", resolve, { once: true }));
  }
  log("control").info("ending: answering what came so far");
}

/** SQLite counts on locks and syncs that such a file system may only pretend. */
async function warnNetwork({ database }: ControlSettings): Promise<void> {
  if (database.kind === "postgres") return;
  const network = await networkFileSystem(database.path);
  if (network === undefined) return;
  log("control").warn(
    "the database {path} is on {network}, which other machines share: a copy of it may be damaged by a second control plane or a lost connection; OPENBOX_HOME or --db names a local disk",
    { path: database.path, network },
  );
}

async function readPassphrase(
  given: ControlSettings["caPassphrase"],
): Promise<Secret | undefined> {
  if (given?.kind !== "file") return given?.passphrase;
  const text = await readPrivateFile(given.path, { maxBytes: 8192 });
  if (text !== undefined) return new Secret(text.replace(/\r?\n$/, ""));
  throw new OpenboxError("bad_file", `There is no file ${given.path} with the CA's passphrase`);
}

async function openStore(
  { database, newToken: user }: ControlSettings,
  { clock, signal }: Host,
): Promise<Store> {
  // somebody waits for his token, and would see nothing
  const mustExist = user !== undefined;
  if (database.kind === "postgres") {
    const { openPostgresStore } = await import("../store/postgres.ts");
    return await openPostgresStore(database.dsn, { clock, signal, wait: !mustExist });
  }
  // in the home the directory is made with it; an empty file is an empty database
  if (database.kind === "home" && !mustExist) await createPrivateFile(database.path, "");
  return await openSqliteStore(database.path, { clock, mustExist });
}

/** The package for it costs nothing where nobody takes spans. */
async function startTracing({ tracing }: ControlSettings): Promise<Tracing | undefined> {
  if (!tracing) return undefined;
  const { createTracing } = await import("./tracing.ts");
  return createTracing();
}

/** Writes held times every few seconds; disposing it ends that. The store writes the last ones itself. */
const flushing = (held: Held): AsyncDisposable => running((signal) => flushAgain(held, signal));

interface Held {
  readonly store: Store;
  readonly denials: Denials;
  readonly clock: Clock;
}

async function flushAgain({ store, denials, clock }: Held, signal: AbortSignal): Promise<void> {
  let failing = false, listeningSince = clock.now();
  while (!signal.aborted) {
    const asleepAt = clock.now();
    await clock.sleep(FLUSH_MS, { signal }).catch(() => {});
    // asleep for longer, or under a clock that was set: what nodes said meanwhile was not heard
    const slept = clock.now() - asleepAt;
    if (slept < 0 || slept > FLUSH_MS + LATE_MS) listeningSince = clock.now();
    await denials.flush();
    try {
      await store.flush();
      if (!signal.aborted) await expire(store, { now: clock.now(), listeningSince });
      failing = false;
    } catch (error) {
      listeningSince = clock.now(); // without the database no beat is taken
      // what was not written is held on; one line says so, not one every few seconds
      if (!failing) {
        log("control").error("cannot write to the database", { error: toOpenboxError(error) });
      }
      failing = true;
    }
  }
}

/** Removes the ephemeral nodes that nothing is heard of. */
async function expire(
  store: Store,
  times: { readonly now: number; readonly listeningSince: number },
): Promise<void> {
  const expired = await store.expireNodes(times, bySystem("node.expire", times.now));
  if (expired.length > 0) log("control").info("silent nodes removed", { nodes: expired });
}

/** Without `--url`: the address that others are likely to reach. */
function reachedAs(listen: ListenAddress, port: number, tls: TlsPair | undefined): string {
  const unspecified = listen.hostname === undefined || listen.hostname === "::" ||
    listen.hostname === "0.0.0.0";
  const hostname = unspecified ? lanAddress() : listen.hostname;
  return `${tls ? "https" : "http"}://${
    hostname.includes(":") ? `[${hostname}]` : hostname
  }:${port}`;
}

function lanAddress(): string {
  const addresses = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
  return addresses.find(({ family, internal }) => family === "IPv4" && !internal)?.address ??
    "127.0.0.1";
}

function startLines(control: RunningControl): string {
  const { address, url, caFingerprint, firstToken } = control;
  const { hostname, port } = address;
  const login = [
    "openbox login",
    `--server ${quoteWord(url)}`,
    `--ca-fingerprint ${caFingerprint}`,
  ];
  if (isInsecure(parseServerUrl(url, "--url"))) login.push("--insecure-http");
  if (firstToken.kind === "kept") login.push(`--token-file ${quoteWord(firstToken.path)}`);
  const lines = [
    `openbox ${VERSION} control plane, listening on ${
      hostname.includes(":") ? `[${hostname}]` : hostname
    }:${port}`,
    `CA fingerprint ${caFingerprint}`,
    `log in with: ${login.join(" ")}`,
  ];
  if (control.caLocked) {
    lines.push("the CA is sealed; openbox ca unseal lets it issue certificates");
  }
  if (firstToken.kind === "shown") {
    lines.push(`the first user's token, shown only here: ${firstToken.token.reveal()}`);
  }
  if (firstToken.kind === "kept") {
    lines.push(`the first user's token is in ${firstToken.path}, until it is used`);
  }
  return lines.join("\n") + "\n";
}

/** A SQLite database knows one writer: with the control plane running this is refused. */
async function printNewToken(name: string, settings: ControlSettings, host: Host): Promise<void> {
  await using store = await openStore(settings, host);
  const [user, ...others] = await store.usersNamed(name);
  if (!user) {
    throw new OpenboxError("not_found", `There is no user ${JSON.stringify(name)}`, {
      hint: `the first user is ${
        JSON.stringify((await store.firstUser())?.name ?? "not made yet")
      }`,
    });
  }
  if (others.length > 0) {
    throw new OpenboxError("ambiguous", `${others.length + 1} accounts have a user ${name}`);
  }
  const token = new Secret(newUserToken()), now = host.clock.now();
  await store.addUserToken(user, newToken(token, "new-token", now), {
    ...bySystem("token.break_glass", now),
    accountId: user.accountId,
  });
  const admin = await store.ensureAdmin(user, now, bySystem("rule.add", now, { grant: "admin" }));
  await host.stdout.write(utf8(`${token.reveal()}\n`));
  if (admin) {
    const line = `${user.name} may administer the account now: nobody else was left who may\n`;
    await host.stderr.write(utf8(line));
  }
  const until = new Date(now + USER_TOKEN_MS).toISOString().slice(0, 10);
  await host.stderr.write(utf8(`a token of ${user.name}, good until ${until}; shown only here\n`));
}
