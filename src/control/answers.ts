/** Whether the control plane's own port takes a request and answers it, whatever the answer is. */
import { request as requestPlain } from "node:http";
import { request as requestTls } from "node:https";
import type { AbortOptions } from "../abort.ts";
import type { Address } from "../transport/address.ts";
import { knock, ownDoors } from "../transport/knock.ts";

export interface Answering {
  readonly address: Address;
  readonly tls: boolean;
}

/** Rejects where nothing comes back before `signal` aborts. */
export const answers = (
  { address, tls }: Answering,
  options: Required<AbortOptions>,
): Promise<void> => knock(ownDoors(address), (door, { signal }) => ask(door, tls, signal), options);

function ask({ host, port }: Address, tls: boolean, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = (tls ? requestTls : requestPlain)({
      host,
      port,
      signal,
      path: "/health",
      headers: { host: "localhost" },
      agent: false,
      // nothing is told there and nothing believed: the certificate is for others' names
      rejectUnauthorized: false,
    }, (response) => {
      response.resume();
      response.once("close", resolve);
    });
    request.once("error", reject); // a reset too is an answer, and `knock` takes it for one
    request.end();
  });
}
