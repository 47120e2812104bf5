/**
 * What a process gives up for good before it looks at bytes from outside: to start another program, and to
 * load a library. Whole classes, since either of them is as good as everything. It holds however Deno was
 * started; the launchers besides start it with what the mode needs alone (scripts/permissions.sh).
 */
export function dropPermissions(): void {
  for (const name of ["run", "ffi"] as const) Deno.permissions.revokeSync({ name });
}
