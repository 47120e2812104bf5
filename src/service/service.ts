/** What openbox runs as a service, and what a manager of services has to be told of it. */
export const SERVICES = ["agent", "control", "daemon"] as const;
export type Service = typeof SERVICES[number];

/** `system` starts with the machine and is root's to change; `user` is one user's own. */
export type Scope = "system" | "user";

export interface Placed {
  readonly service: Service;
  readonly scope: Scope;
}

export interface ServiceSpec extends Placed {
  /** The executable. */
  readonly program: string;
  /** The flags of the mode. None is a secret: everybody on the machine can read them. */
  readonly flags: readonly string[];
  /** `OPENBOX_HOME` of the service. */
  readonly home: string;
  /** Below port 1024, which takes a right of its own. */
  readonly lowPort?: boolean;
  /** It was this command that had the user's services go on without a login. */
  readonly lingers?: boolean;
}

export interface ServiceFile {
  readonly path: string;
  readonly text: string;
}

export interface ServiceStatus extends Placed {
  /** The manager's name for it. */
  readonly unit: string;
  /** What the manager reads of it first. */
  readonly file: string;
  readonly installed: boolean;
  /** Whether it starts by itself. */
  readonly enabled: boolean;
  /** `running`, or the manager's word for what it does instead. */
  readonly state: string;
  readonly pid: number | undefined;
  /** How often it was started anew since its manager started it. */
  readonly restarts: number | undefined;
  /** Whether it may make groups of processes, which have limits; undefined where that is no question. */
  readonly delegated: boolean | undefined;
  /** The manager's word for how it ended, where it failed. */
  readonly failure: string | undefined;
}

/** A command of the manager, as an argument list. */
export interface Step {
  readonly command: readonly string[];
  /** What it undoes may not be there. */
  readonly mayFail?: boolean;
  /** It is tried for a while: who answers it may have been started only now. */
  readonly tryAgain?: boolean;
}

/** A manager of services: systemd or launchd. It says what is to be done; doing it is the caller's. */
export interface ServiceManager {
  readonly name: "systemd" | "launchd";
  /** Throws `not_supported` where there is no such service in such a scope. */
  files(spec: ServiceSpec): readonly ServiceFile[];
  /** Asks whether the user's services go on without a login; undefined where they always do, or never. */
  askLingering(
    placed: Placed,
  ): { readonly command: readonly string[]; read(output: string): boolean } | undefined;
  /** Before the files are there. */
  prepare(spec: ServiceSpec): readonly Step[];
  /** Once they are: it starts now and from now on; one that runs by other files is started anew. */
  activate(spec: ServiceSpec, options: { readonly changed: boolean }): readonly Step[];
  /** Ends it; then the files go. */
  deactivate(placed: Placed): readonly Step[];
  forget(placed: Placed, options: { readonly lingers: boolean }): readonly Step[];
  /** What was asked of the manager about it, and how to read what it said. */
  askStatus(placed: Placed): {
    readonly command: readonly string[];
    read(output: string, success: boolean): Omit<ServiceStatus, "installed" | keyof Placed>;
  };
  /** Paths of all that `files` gives, whatever the spec. */
  paths(placed: Placed): readonly string[];
  /** The home of a system service: one each, since they are different users. */
  systemHome(service: Service): string;
  /** How to remove what a system service keeps, with what it was run as. */
  removeState(placed: Placed, home: string): string;
  /** The command that shows its log. */
  logCommand(placed: Placed): string;
}

/** Where a control plane that is a system service finds settings that are secrets. */
export const CONTROL_ENV_FILE = "/etc/openbox/control.env";
