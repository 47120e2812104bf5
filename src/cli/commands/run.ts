/** `openbox run` and the bare form, on a connection of this process: a command on a node, as if it ran here. */
import { caFingerprint } from "../../ca/keys.ts";
import { currentPair } from "../../ca/trust.ts";
import { createControlClient } from "../../client/control_client.ts";
import { type ExecDeps, openRun, type RemoteRun } from "../../client/exec.ts";
import type { Host } from "../../host.ts";
import { newRunId } from "../../ids.ts";
import { believeCa, caPin } from "../ca_pin.ts";
import { carryOut, refuse } from "../carry_out.ts";
import { type Login, readLogin } from "../login.ts";
import { printWarning } from "../output.ts";
import { showWaiting } from "../progress.ts";
import type { RunFlagValues } from "../run_flags.ts";
import { readRunOptions, type RunOptions } from "../run_options.ts";
import { spawnDaemon } from "../spawn_daemon.ts";
import { userKey } from "../user_key.ts";

export interface RunLine {
  readonly flags: RunFlagValues;
  readonly words: readonly string[];
}

/** The exit code. */
export async function runOnNode({ flags, words }: RunLine, host: Host): Promise<number> {
  const asked = { runId: newRunId(), json: flags.has("json") };
  let options: RunOptions;
  try {
    options = readRunOptions(flags, words, host);
  } catch (error) {
    return await refuse(error, asked, host);
  }
  return await carryOut({ ...asked, options }, () => start(options, asked.runId, host), host);
}

async function start(options: RunOptions, runId: string, host: Host): Promise<RemoteRun> {
  const login = await readLogin(host);
  await spawnDaemon(login, host);
  host.dropPermissions({ terminal: options.command.terminal !== undefined });
  await using _waiting = showWaiting("connecting …", host);
  await using control = createControlClient(login);
  const deps = { ...await runDeps(login, host), control };
  return await openRun(options.target, { ...options.command, runId }, deps, host);
}

/** What a run needs besides the control plane. */
export async function runDeps(login: Login, host: Host): Promise<Omit<ExecDeps, "control">> {
  const { dialNode } = await import("../../transport/dial_node.ts");
  return {
    key: await userKey(login, host),
    clock: host.clock,
    dial: dialNode,
    checkCa: (answer) => believe(answer, login, host),
  };
}

async function believe(
  answer: Parameters<ExecDeps["checkCa"]>[0],
  login: Login,
  host: Host,
) {
  const trust = await believeCa(answer, login, host);
  if (caPin(login).kind === "none") {
    const line = `OPENBOX_CA_FINGERPRINT=${caFingerprint(currentPair(trust))}`;
    await printWarning(`believing the CA that ${login.server.href} names; ${line} pins it`, host);
  }
  return trust;
}
