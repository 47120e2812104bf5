# shellcheck shell=sh
# What the scripts share. A script sets `openbox_scripts`, its folder, and sources this file.
# POSIX sh: dash, busybox, macOS. Sets `openbox_root`, the checkout. The names are long, and functions
# run in subshells, because a variable that the caller's environment has too would be changed in it.

openbox_root=$(CDPATH='' cd -- "$openbox_scripts/.." && pwd -P)

# The packages lie in the checkout, so that another HOME, or none, or a service's user finds them too.
export DENO_DIR="${DENO_DIR:-$openbox_root/.deno/cache}"
export DENO_NO_UPDATE_CHECK=1

say() { printf '%s\n' "$*" >&2; }

die() {
  say "$0: $*"
  exit 1
}

# Whether a docker engine answers; macOS has no timeout(1).
engine_answers() (
  command -v docker >/dev/null || return 1
  set -- docker version
  command -v timeout >/dev/null && set -- timeout 10 "$@"
  "$@" >/dev/null 2>&1
)

# Prints the path of the real Deno binary of the version in .deno-version: the one on PATH, else the one
# in .deno/ of the checkout, else it is fetched there, through npm or else by Deno's own installer.
find_deno() (
  read -r version <"$openbox_root/.deno-version"
  found=$(command -v deno) && is_pinned "$found" && print_binary "$found" && exit
  kept=$openbox_root/.deno/deno-$version
  is_pinned "$kept" || fetch_deno
  printf '%s\n' "$kept"
)

is_pinned() { [ "$("$1" -V 2>/dev/null </dev/null)" = "deno $version" ]; }

# A launcher script (npm's is one) stays between us and Deno and keeps signals from it: name what it runs.
print_binary() {
  IFS= read -r first <"$1" || :
  case $first in
  '#!'*) "$1" eval --quiet 'console.log(Deno.execPath())' </dev/null ;;
  *) printf '%s\n' "$1" ;;
  esac
}

# Two scripts at once fetch twice, each into its own folder; the rename makes one of them whole for both.
fetch_deno() {
  say "fetching Deno $version into $openbox_root/.deno (once)"
  mkdir -p "$openbox_root/.deno" && incoming=$(mktemp -d "$openbox_root/.deno/incoming.XXXXXX") ||
    die "cannot write to $openbox_root/.deno"
  trap 'rm -rf "$incoming"' EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  fetch_with_npm || fetch_with_installer ||
    die "cannot get Deno $version: install it (https://deno.com), or npm, or curl and unzip; then try again"
  mv -f "$fetched" "$kept"
}

# npm picks the package of this system and processor; no script of a package is run.
fetch_with_npm() {
  command -v npm >/dev/null || return 1
  npm install --prefix "$incoming" --no-save --no-package-lock --ignore-scripts --include=optional \
    --no-audit --no-fund --no-update-notifier --loglevel=error "deno@$version" </dev/null >"$incoming/log" 2>&1 || :
  for fetched in "$incoming"/node_modules/@deno/*/deno; do
    is_pinned "$fetched" && return
  done
  cat "$incoming/log" >&2
  return 1
}

# On a terminal the installer would offer to edit the shell's start-up files; CI=1 says not to ask.
fetch_with_installer() {
  command -v curl >/dev/null || return 1
  curl -fsSL https://deno.land/install.sh </dev/null |
    CI=1 DENO_INSTALL="$incoming" sh -s "v$version" >"$incoming/log" 2>&1 || :
  fetched=$incoming/bin/deno
  is_pinned "$fetched" && return
  cat "$incoming/log" >&2
  return 1
}

# Fills the cache from deno.lock with the Deno given, once: after it nothing needs the network. The stamp
# names the lock by what it holds: checkouts may share a cache, and a file's time says nothing.
fetch_packages() (
  read -r version <"$openbox_root/.deno-version"
  lock=$(cksum <"$openbox_root/deno.lock")
  stamp=$DENO_DIR/fetched-for-$version-${lock%% *}
  [ -f "$stamp" ] && exit
  say "fetching the packages of deno.lock (once)"
  cd "$openbox_root" && "$1" install --quiet --frozen </dev/null >&2 || die "cannot fetch the packages of deno.lock"
  : 2>/dev/null >"$stamp" || say "cannot write to $DENO_DIR: the packages are looked up at each start"
)

# Builds dist/openbox, unless it is there and no source is newer.
build_executable() (
  cd "$openbox_root" || exit
  newer=$(find dist/openbox -prune -type f 2>/dev/null &&
    find main.ts src scripts deno.json deno.lock .deno-version -type f -newer dist/openbox 2>/dev/null | sed 1q) || newer=
  [ "$newer" = dist/openbox ] || sh scripts/build >&2
)
