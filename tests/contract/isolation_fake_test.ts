import { fakeBackend, type FakeProgram } from "../fakes/isolation.ts";
import { NATIVE } from "../../src/isolation/spec.ts";
import { isolationContract } from "./isolation.ts";

const PROGRAMS: Record<string, FakeProgram> = {
  "stty size; read -r _; stty size": async (run) => {
    const tell = () => {
      const { cols, rows } = run.sizes.at(-1)!;
      return run.write("stdout", `${rows} ${cols}\n`);
    };
    await tell();
    await run.read();
    await tell();
    return 0;
  },
  "printf out; printf err >&2": async (run) => {
    await Promise.all([run.write("stdout", "out"), run.write("stderr", "err")]);
    return 0;
  },
  "cat": async (run) => {
    for (let chunk; (chunk = await run.read());) await run.write("stdout", chunk);
    return 0;
  },
  "exit 7": () => Promise.resolve(7),
  "sleep 300": (run) => run.wait(),
  "echo before; sleep 300": async (run) => {
    await run.write("stdout", "before\n");
    return await run.wait();
  },
  "yes": async (run) => {
    for (;;) await Promise.race([run.write("stdout", "y\n"), run.wait()]);
  },
  "env -0": async (run) => {
    for (const [name, value] of Object.entries(run.command.env)) {
      await run.write("stdout", `${name}=${value}\0`);
    }
    return 0;
  },
};

isolationContract("fake", () =>
  Promise.resolve({
    backend: fakeBackend(PROGRAMS),
    spec: NATIVE,
    otherSpec: { kind: "docker", image: "debian" },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }));
