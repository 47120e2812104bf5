/** Looks for programs in an image, without running anything of it. */
import { text } from "../../bytes.ts";
import { type Dockerode, type Engine, type ImageFacts, toldRefusal } from "./engine.ts";

const MAX_LINKS = 4;

/** The first of these absolute paths that is an executable file. */
export async function findInImage(
  engine: Engine,
  { Id }: ImageFacts,
  paths: readonly string[],
  labels: Readonly<Record<string, string>>,
): Promise<string | undefined> {
  let id: string;
  try {
    ({ id } = await engine.call((docker) =>
      docker.createContainer({ Image: Id, Entrypoint: ["/bin/sh"], Cmd: [], Labels: labels })
    ));
  } catch (error) {
    throw toldRefusal(error, "look into the image");
  }
  try {
    for (const path of paths) {
      if (await engine.call((docker) => isExecutable(docker.getContainer(id), path))) return path;
    }
    return undefined;
  } finally {
    await engine.call((docker) => docker.getContainer(id).remove({ force: true, v: true })).catch(
      () => {}, // with the next start
    );
  }
}

async function isExecutable(
  container: ReturnType<Dockerode["getContainer"]>,
  path: string,
): Promise<boolean> {
  for (let links = 0; links < MAX_LINKS; links++) {
    let answer;
    try {
      answer = await container.infoArchive({ path });
    } catch (error) {
      if ((error as { statusCode?: number }).statusCode === 404) return false;
      throw error;
    }
    answer.resume();
    const told = JSON.parse(
      text(Uint8Array.fromBase64(answer.headers["x-docker-container-path-stat"]!)),
    ) as { readonly mode: number; readonly linkTarget: string };
    const { isDirectory, isLink, isExecutable } = readMode(told.mode);
    if (!isLink) return !isDirectory && isExecutable;
    path = told.linkTarget;
  }
  return false;
}

/** As Go counts them: the kind is in the bits above 31. */
const readMode = (mode: number) => ({
  isDirectory: Math.floor(mode / 2 ** 31) % 2 === 1,
  isLink: Math.floor(mode / 2 ** 27) % 2 === 1,
  isExecutable: (mode & 0o111) !== 0,
});
