/** Who we are to a registry: what `docker login` of the agent's login left in `~/.docker/config.json`. */
import { text, utf8 } from "../../bytes.ts";
import { OpenboxError } from "../../errors.ts";
import { dockerFolder, type DockerPlace, readJson } from "./endpoint.ts";

/** What the engine passes to the registry. */
export type RegistryAuth =
  | { readonly username: string; readonly password: string; readonly serveraddress: string }
  | { readonly identitytoken: string; readonly serveraddress: string };

/** The name that logins to Docker Hub are kept by. */
const HUB = "https://index.docker.io/v1/";

/** Of an image reference: the host before the first slash, where it looks like one. */
export function registryOf(image: string): string {
  const [first, ...rest] = image.split("/");
  return rest.length > 0 && (/[.:]/.test(first!) || first === "localhost") ? first! : HUB;
}

/** Undefined: nobody logged in, and the registry may be open. */
export async function readRegistryAuth(
  image: string,
  place: DockerPlace,
): Promise<RegistryAuth | undefined> {
  const config = await readJson(`${dockerFolder(place)}/config.json`);
  if (!config) return undefined;
  const server = registryOf(image);
  const helpers = config.credHelpers as Record<string, unknown> | undefined;
  const helper = helpers?.[server] ?? config.credsStore;
  if (typeof helper === "string" && helper !== "") {
    const kept = await askHelper(helper, server, place);
    if (kept) return kept;
  }
  const auths = config.auths as Record<string, Record<string, unknown>> | undefined;
  const entry = auths?.[server] ?? auths?.[`https://${server}`];
  if (!entry) return undefined;
  const { auth, identitytoken } = entry;
  if (typeof identitytoken === "string" && identitytoken !== "") {
    return { identitytoken, serveraddress: server };
  }
  if (typeof auth !== "string" || auth === "") return undefined;
  const [, username, password] = /^([^:]*):(.*)$/s.exec(text(Uint8Array.fromBase64(auth))) ?? [];
  return username ? { username, password: password!, serveraddress: server } : undefined;
}

const HELPER_MS = 10_000;

/** Undefined where the helper knows nobody. */
async function askHelper(
  helper: string,
  server: string,
  { env }: DockerPlace,
): Promise<RegistryAuth | undefined> {
  const name = `docker-credential-${helper}`;
  if (helper.includes("/")) throw unusable(name, "it is no name of a program");
  let child: Deno.ChildProcess;
  try {
    child = new Deno.Command(name, {
      args: ["get"],
      env: { PATH: env("PATH") ?? "/usr/local/bin:/usr/bin:/bin" },
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
  } catch (cause) {
    throw unusable(name, (cause as Error).message);
  }
  const late = setTimeout(() => child.kill("SIGKILL"), HELPER_MS);
  try {
    const writer = child.stdin.getWriter();
    await writer.write(utf8(server)).then(() => writer.close()).catch(() => {}); // it need not read
    const { success, stdout } = await child.output();
    if (!success) return undefined;
    const { Username, Secret } = JSON.parse(text(stdout));
    return Username === "<token>"
      ? { identitytoken: Secret, serveraddress: server }
      : { username: Username, password: Secret, serveraddress: server };
  } catch (cause) {
    throw unusable(name, (cause as Error).message);
  } finally {
    clearTimeout(late);
  }
}

const unusable = (name: string, why: string) =>
  new OpenboxError("image_unavailable", `The credential helper ${name} does not work: ${why}`, {
    hint: "~/.docker/config.json of the agent's login names it",
  });
