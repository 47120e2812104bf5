/** The forms of names that people give: never empty, never beginning like a flag, nothing a shell, a page or a list would read. */

/** A node's, a session's, a user's, a token's or a rule's name, and a tag. */
export const NAME = /^[A-Za-z0-9._][A-Za-z0-9._-]{0,63}$/;
export const isName = (name: string): boolean => NAME.test(name);

/** A user of an operating system, by name; a number would be taken for somebody's uid. */
export const LOGIN = /^[A-Za-z_][A-Za-z0-9_.-]{0,31}$/;
export const isLogin = (name: string): boolean => LOGIN.test(name);

/** The user's name for a session, in the one form that no reader folds or splits. */
export const isSessionName = isName;

/** The variables that a caller may set; those of openbox are the node's to set. */
export const isEnvName = (name: string): boolean =>
  /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !name.startsWith("OPENBOX_");

/** A kind of terminal; it becomes the name of a file where programs look for its abilities. */
export const isTerm = (name: string): boolean => /^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/.test(name);
