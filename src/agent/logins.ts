/** The logins of this node that commands run as, each with the PATH that its own login shell makes. */
import type { IsolationBackend } from "../isolation/backend.ts";
import { findLogin, type Login, readLoginPath } from "./login.ts";

export interface Logins {
  /** The agent's own. */
  readonly own: Login;
  /** Undefined: the agent's own. Throws as `findLogin` does. */
  find(name: string | undefined): Promise<FoundLogin>;
}

export interface FoundLogin {
  readonly login: Login;
  readonly path: string;
}

export interface LoginsDeps {
  readonly own: Login;
  /** Runs the login shells. */
  readonly native: IsolationBackend;
  /** In the place of what they say. */
  readonly path: string | undefined;
}

export function openLogins({ own, native, path }: LoginsDeps): Logins {
  const paths = new Map<string, Promise<string>>();
  const pathOf = (login: Login): Promise<string> => {
    if (path !== undefined) return Promise.resolve(path);
    // an account that is made anew under its old name is another one
    const { name, home, shell, account } = login;
    const id = JSON.stringify([name, home, shell, account?.uid, account?.gid]);
    const known = paths.get(id) ?? readLoginPath(login, native);
    paths.set(id, known);
    return known;
  };
  void pathOf(own); // the first command need not wait for it
  return {
    own,
    async find(name) {
      const login = name === undefined ? own : await findLogin(name, own);
      return { login, path: await pathOf(login) };
    },
  };
}
