# What the scripts share; sourced by each of them with $0 as its path. POSIX sh: dash, busybox, macOS.
# Sets `root` (the checkout). `find_deno` sets `deno`: the real binary of the version in .deno-version,
# from PATH, else from .deno/ in the checkout, else fetched there: through npm, else by Deno's own
# installer. `fetch_packages` fills the cache from deno.lock once.

self=$0
while [ -L "$self" ]; do
  link=$(readlink "$self")
  case $link in /*) self=$link ;; *) self=$(dirname "$self")/$link ;; esac
done
root=$(CDPATH='' cd -- "$(dirname "$self")/.." && pwd -P)

# The packages lie in the checkout, so that another HOME, or none, or a service's user finds them too.
export DENO_DIR="${DENO_DIR:-$root/.deno/cache}"
export DENO_NO_UPDATE_CHECK=1 DENO_NO_PROMPT=1

say() { printf '%s\n' "$*" >&2; }

die() {
  say "$0: $*"
  exit 1
}

find_deno() {
  read -r version <"$root/.deno-version"
  deno=$(command -v deno) && [ -x "$deno" ] && is_pinned "$deno" && resolve_launcher && return
  deno=$root/.deno/deno-$version
  is_pinned "$deno" || fetch_deno
}

is_pinned() { [ "$("$1" -V 2>/dev/null </dev/null)" = "deno $version" ]; }

# A launcher script (npm's is one) stays between us and Deno, and keeps signals from it: run what it runs.
resolve_launcher() {
  IFS= read -r first <"$deno" || return 0
  case $first in '#!'*) deno=$("$deno" eval --quiet 'console.log(Deno.execPath())' </dev/null) ;; esac
}

# Two scripts at once fetch twice, each into its own folder; the rename makes one of them whole for both.
fetch_deno() {
  say "fetching Deno $version into $root/.deno (once)"
  mkdir -p "$root/.deno" || die "cannot write to $root/.deno"
  incoming=$(mktemp -d "$root/.deno/incoming.XXXXXX") || die "cannot write to $root/.deno"
  trap 'rm -rf "$incoming"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  fetched=
  fetch_with_npm || fetch_with_installer ||
    die "cannot get Deno $version: install it (https://deno.com), or npm, or curl and unzip, and try again"
  mv -f "$fetched" "$deno"
  rm -rf "$incoming"
  trap - EXIT INT TERM
}

# npm picks the package of this system and processor; no script of a package is run.
fetch_with_npm() {
  command -v npm >/dev/null || return 1
  npm install --prefix "$incoming" --no-save --no-package-lock --ignore-scripts --include=optional \
    --no-audit --no-fund --no-update-notifier --loglevel=error "deno@$version" </dev/null >"$incoming/log" 2>&1
  for fetched in "$incoming"/node_modules/@deno/*/deno; do
    is_pinned "$fetched" && return
  done
  cat "$incoming/log" >&2
  return 1
}

# The installer would offer to edit the shell's start-up files on a terminal; CI=1 says not to ask.
fetch_with_installer() {
  command -v curl >/dev/null || return 1
  curl -fsSL https://deno.land/install.sh </dev/null |
    CI=1 DENO_INSTALL="$incoming" sh -s "v$version" >"$incoming/log" 2>&1
  fetched=$incoming/bin/deno
  is_pinned "$fetched" && return
  cat "$incoming/log" >&2
  return 1
}

# After it nothing needs the network: the stamp is older than a deno.lock that changed since.
fetch_packages() {
  stamp=$DENO_DIR/fetched-for-$version
  [ "$stamp" -nt "$root/deno.lock" ] && return
  say "fetching the packages of deno.lock (once)"
  (cd "$root" && "$deno" install --quiet --frozen </dev/null >&2) ||
    die "cannot fetch the packages of deno.lock"
  : >"$stamp" 2>/dev/null || say "cannot write to $DENO_DIR: packages are looked up at each start"
}
