/** Whether systemd-nspawn can be used on this machine at all. */
import { OpenboxError } from "../../errors.ts";

export interface Machine {
  readonly os: string;
  readonly uid: number | null;
  has(program: string): Promise<boolean>;
}

export const thisMachine: Machine = {
  os: Deno.build.os,
  get uid() {
    return Deno.uid();
  },
  async has(program) {
    for (const folder of ["/usr/bin", "/usr/sbin", "/bin", "/usr/local/bin"]) {
      const found = await Deno.stat(`${folder}/${program}`).catch(() => undefined);
      if (found?.isFile) return true;
    }
    return false;
  },
};

/** With the packages that Debian has them in. */
const PROGRAMS = [["systemd-nspawn", "systemd-container"], ["unshare", "util-linux"]] as const;

/** Throws `isolation_unavailable` with what is missing, and how to get it. */
export async function requireMachine({ os, uid, has }: Machine): Promise<void> {
  if (os !== "linux") {
    throw new OpenboxError("isolation_unavailable", "nspawn is Linux's, and this node runs none", {
      hint: "--docker IMAGE, where the node has docker",
    });
  }
  if (uid !== 0) {
    throw new OpenboxError("isolation_unavailable", "nspawn needs the agent to run as root", {
      hint: "on the node: sudo openbox agent",
    });
  }
  for (const [program, debian] of PROGRAMS) {
    if (await has(program)) continue;
    throw new OpenboxError("isolation_unavailable", `This node has no ${program}`, {
      hint: `on the node: apt-get install ${debian}`,
    });
  }
}
