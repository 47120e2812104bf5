/** Where the CA's keys lie: in a file, in the database, or in a text that only the operator can change. */
import { OpenboxError } from "../errors.ts";
import { createPrivateFile, readPrivateFile, writePrivateFile } from "../home/private_file.ts";
import type { Secret } from "../secret.ts";
import { quoteWord } from "../shell_word.ts";
import type { AuditEntry } from "../store/audit.ts";
import type { CaStep, CaText, Store } from "../store/store.ts";
import type { ControlSettings } from "./settings.ts";

export interface CaKeeper {
  /** For errors. */
  readonly source: string;
  /** Others read it too: what is kept there is sealed, and changes with the steps in one transaction. */
  readonly shared: boolean;
  /** Whether the keys can be changed here at all. */
  readonly fixed: boolean;
  read(): Promise<CaText | undefined>;
  /** The first text. False where somebody was faster. */
  create(text: string, audit: AuditEntry): Promise<boolean>;
  /** Another text of the same keys. */
  replace(before: CaText, text: string, audit: AuditEntry): Promise<void>;
  /** `during` is there before the steps are on record, `after` once they are. */
  step(
    before: CaText,
    texts: { readonly during: string; readonly after: string },
    steps: readonly CaStep[],
    audit: AuditEntry,
  ): Promise<void>;
  /** The error for a CA that is nowhere, in a control plane that had one. */
  missing(): OpenboxError;
  /** Whether a first start may make one here. */
  readonly mayCreate: boolean;
}

const MAX_BYTES = 64 * 1024;
/** A file has no numbers: one process has it. */
const UNNUMBERED = 0;

/** `shared`: other control planes are on the database, each with a copy of its own of what is a file or a text. */
export function openCaKeeper(
  source: ControlSettings["ca"],
  { store, shared }: { readonly store: Store; readonly shared: boolean },
): CaKeeper {
  switch (source.kind) {
    case "text":
      return unchanging(textKeeper(source.pem), NOT_A_TEXT);
    case "database":
      return databaseKeeper(store);
    case "home":
    case "given": {
      const keeper = fileKeeper(source.path, source.kind, store);
      return shared ? unchanging(keeper, NOT_A_COPY) : keeper;
    }
  }
}

function fileKeeper(path: string, kind: "home" | "given", store: Store): CaKeeper {
  return {
    source: path,
    shared: false,
    fixed: false,
    mayCreate: kind === "home",
    async read() {
      const text = await readPrivateFile(path, { maxBytes: MAX_BYTES });
      return text === undefined ? undefined : { version: UNNUMBERED, text };
    },
    async create(text, audit) {
      const created = await createPrivateFile(path, text);
      if (created) await store.recordAudit([audit]);
      return created;
    },
    async replace(_, text, audit) {
      await store.recordAudit([audit]);
      await writePrivateFile(path, text);
    },
    async step(_, { during, after }, steps, audit) {
      await writePrivateFile(path, during);
      await store.addCaSteps(steps, undefined, audit);
      await writePrivateFile(path, after);
    },
    missing() {
      const make = `(umask 077; openbox ca-keygen > ${quoteWord(path)})`;
      return kind === "given"
        ? new OpenboxError("bad_file", `There is no CA key ${path}`, { hint: `${make} makes one` })
        : new OpenboxError(
          "bad_file",
          `The CA key ${path} is gone; the nodes and clients of this control plane believe no other`,
          {
            hint: `restore it from a backup; or ${make}, log in again and enroll every node anew`,
          },
        );
    },
  };
}

function databaseKeeper(store: Store): CaKeeper {
  return {
    source: "the database",
    shared: true,
    fixed: false,
    mayCreate: true,
    read: () => store.caText(),
    create: (text, audit) => store.putCaText({ version: 0, text }, audit),
    async replace({ version }, text, audit) {
      if (await store.putCaText({ version, text }, audit)) return;
      throw new OpenboxError("conflict", "The CA was changed by another control plane just now");
    },
    // one transaction: there is no moment in between
    step: ({ version }, { after }, steps, audit) =>
      store.addCaSteps(steps, { version, text: after }, audit),
    missing: () =>
      new OpenboxError("bad_file", "There is no CA key in the database of this control plane", {
        hint: "--ca FILE or OPENBOX_CA_KEY gives the one that it was started with before",
      }),
  };
}

/** Never missing, so that the rest of it is never asked for. */
const textKeeper = (pem: Secret): Pick<CaKeeper, "source" | "read" | "mayCreate"> => ({
  source: "OPENBOX_CA_KEY",
  mayCreate: false,
  read: () => Promise.resolve({ version: UNNUMBERED, text: pem.reveal() }),
});

const NOT_A_TEXT = "put the text into a file (mode 0600) and start with --ca FILE";
const NOT_A_COPY =
  "each control plane on this database has a copy of it; --ca database keeps one for all, from the first start on";

/** One that this control plane only reads. */
function unchanging(
  keeper: Pick<CaKeeper, "source" | "read" | "mayCreate"> & Partial<Pick<CaKeeper, "missing">>,
  hint: string,
): CaKeeper {
  const refuse = () => {
    throw new OpenboxError(
      "not_supported",
      `The CA key in ${keeper.source} cannot be changed here`,
      {
        hint,
      },
    );
  };
  return {
    missing: refuse,
    ...keeper,
    mayCreate: false,
    shared: false,
    fixed: true,
    create: refuse,
    replace: refuse,
    step: refuse,
  };
}
