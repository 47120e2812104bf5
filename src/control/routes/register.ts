import { RegisterAnswer, RegisterRequest } from "../../api/enroll.ts";
import { type EnrollToken, parseEnrollToken, verifyEnrollProof } from "../../ca/enroll_proof.ts";
import { OpenboxError } from "../../errors.ts";
import { newNodeId, newNodeToken } from "../../ids.ts";
import { log } from "../../log.ts";
import { Secret } from "../../secret.ts";
import { authorizedLine } from "../../ssh/key.ts";
import { checkNodeAddress } from "../address_policy.ts";
import { enrollAnew } from "../authenticate.ts";
import { caLocked } from "../ca.ts";
import { pairOf } from "../ca_state.ts";
import { issueHostCert } from "../host_cert.ts";
import { parseKeyLine } from "../key_line.ts";
import { enrollRoute } from "../route.ts";
import { caChain, caLines } from "./whoami.ts";

/**
 * A machine becomes a node. What can be refused without the token is refused first, so that it is not
 * spent for nothing, and the work before the look-up is the same for every token.
 */
export const register = enrollRoute(
  {
    method: "POST",
    path: "/v1/nodes/register",
    summary: "Become a node, by an enrollment token",
    body: RegisterRequest,
    answers: { 201: RegisterAnswer },
    refuses: [
      "upgrade_required",
      "enroll_token_invalid",
      "enroll_token_used",
      "key_proof",
      "conflict",
      "ca_locked",
    ],
  },
  async (call, control) => {
    const { store, clock, loopback, revocationLists } = control;
    const { enroll_token, proof, name, addr, os, arch } = call.body;
    if (proof === undefined) throw outdated(call.origin);
    const hostKey = parseKeyLine(call.body.host_pubkey);
    checkNodeAddress(addr, { loopback });
    const ca = await control.ca.now();
    if (ca.locked) throw caLocked();

    const given = parseEnrollToken(enroll_token);
    // of the CA of now, or of before a rotation that came after the token was made
    const pinned = given && pairOf(given.fingerprint, ca.state);
    // what is no token of this CA goes the same way as a wrong one, to an end that is the same
    const token: EnrollToken = given && pinned
      ? given
      : { secret: new Secret(enroll_token), fingerprint: ca.fingerprint };
    const proven = verifyEnrollProof(proof, token, hostKey);
    if (token === given && !proven) throw unproven();

    const nodeToken = new Secret(newNodeToken());
    const nodeId = newNodeId();
    const node = await store.registerNode({
      secret: token.secret,
      nodeId,
      nodeToken,
      name,
      addr,
      os,
      arch,
      hostKey: authorizedLine(hostKey),
      now: clock.now(),
    }, {
      ...call.audit("node.enroll", { subject: nodeId, detail: { name, addr } }),
      actor: nodeId,
    });
    const enrolled = { ...node, hostKey: authorizedLine(hostKey) };
    const hostCert = await issueHostCert(enrolled, call, ca, control);
    log("control").info("node enrolled", { node: node.id, name, addr, tags: node.tags });
    // a new node knows from its first connection on what is revoked
    const { version } = await store.revocations(node.accountId);
    const keys = caLines(pinned ?? ca.pair);
    const body: RegisterAnswer = {
      node_id: node.id,
      host_cert: hostCert,
      ca_pubkey: keys.user_ca_pubkey,
      node_token: nodeToken.reveal(),
      ...keys,
      ...caChain(ca),
      account_id: node.accountId,
      revocation_list: await revocationLists.signed(node.accountId, version),
      tags: [...node.tags],
    };
    return { status: 201, body };
  },
);

const outdated = (origin: string) =>
  new OpenboxError(
    "upgrade_required",
    "This registration does not prove that the machine holds its host key: its agent is older than this control plane",
    { hint: enrollAnew(origin) },
  );

const unproven = () =>
  new OpenboxError(
    "key_proof",
    "The registration's proof does not fit its host key and its enrollment token",
    { hint: "openbox node token makes another token" },
  );
