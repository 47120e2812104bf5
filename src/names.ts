/** The forms of names that people give: never empty, never beginning like a flag, nothing a shell, a page or a list would read. */

/** A node's, a session's, a user's, a token's or a rule's name, and a tag. */
export const NAME = /^[A-Za-z0-9._][A-Za-z0-9._-]{0,63}$/;
export const isName = (name: string): boolean => NAME.test(name);

/** A user of an operating system, by name; a number would be taken for somebody's uid. */
export const LOGIN = /^[A-Za-z_][A-Za-z0-9_.-]{0,31}$/;
export const isLogin = (name: string): boolean => LOGIN.test(name);
