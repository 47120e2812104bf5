/** The flags of the control plane and of the agent: for their start, and for their installation as services. */
import { listFlag, switchFlag, textFlag } from "./flags.ts";

export const CONTROL_FLAGS = {
  addr: textFlag("ADDR", "Listen there (default 127.0.0.1:8080; PORT after OPENBOX_ADDR)"),
  url: textFlag("URL", "The address that others use (OPENBOX_PUBLIC_URL)"),
  db: textFlag(
    "FILE",
    "The database: a SQLite file (default control/openbox.db in the home) or a Postgres",
  ),
  ca: textFlag(
    "FILE",
    "The CA keys, as `openbox ca-keygen` prints them (or OPENBOX_CA_KEY); `database` keeps them sealed there",
  ),
  caPassphraseFile: textFlag("FILE", "What the CA is sealed with (or OPENBOX_CA_PASSPHRASE)"),
  tlsCert: textFlag("FILE", "Serve HTTPS with this certificate, PEM"),
  tlsKey: textFlag("FILE", "The key of --tls-cert, PEM"),
  insecureHttp: switchFlag("Serve plain HTTP to other machines"),
  behindProxy: textFlag(
    "ADDR",
    "Believe X-Forwarded-… of proxies there; networks as 10.0.0.0/8, several with commas",
  ),
  bootstrapTokenFile: textFlag("FILE", "The first user's token (or OPENBOX_BOOTSTRAP_TOKEN)"),
  printBootstrapToken: switchFlag("Print the first user's token where there is only a log"),
  newToken: textFlag(
    "USER",
    "Make a token for this user and end; the control plane is stopped",
  ),
  auditSyslog: textFlag("URL", "Send the audit there too: tcp://HOST:601 or udp://HOST:514"),
  dispatchLimit: textFlag("N", "Dispatches a second of one user; twice as many at once"),
  sourceLimit: textFlag("N", "Requests a second of one address; twice as many at once"),
} as const;

export const AGENT_FLAGS = {
  server: textFlag("URL", "The control plane (OPENBOX_SERVER)"),
  tokenFile: textFlag("FILE", "File with the enroll token; - is stdin"),
  token: textFlag(
    "TOKEN",
    "The enroll token itself; it shows in `ps` (OPENBOX_ENROLL_TOKEN)",
  ),
  addr: textFlag("ADDR", "Listen there (OPENBOX_AGENT_ADDR)"),
  advertise: textFlag("ADDR", "The address that others use (OPENBOX_ADVERTISE)"),
  name: textFlag("NAME", "The node's name (OPENBOX_NAME; default the host name)"),
  tag: listFlag("TAG", "A tag of this node; repeat it for more"),
  insecureHttp: switchFlag("Take plain HTTP to another machine (OPENBOX_INSECURE_HTTP)"),
  tlsCa: textFlag("FILE", "Trust this certificate too, PEM (OPENBOX_TLS_CA)"),
} as const;
