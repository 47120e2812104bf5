#!/bin/sh
# openbox @VERSION@ for @TARGET@, whole in this one file. What follows this text is unpacked into a private
# cache at the first start; from then on the text looks whether that is still there, and starts it.
# Names are long, since a variable that the caller's environment has too would be changed in it.
openbox_id=@ID@
openbox_deno_size=@DENO_SIZE@ openbox_main_size=@MAIN_SIZE@

# Usage: openbox_refuse WHY WAY-OUT
openbox_refuse() {
  printf 'openbox: unavailable: %s\n  hint: %s\n' "$1" "$2" >&2
  # as openbox ends where it fails itself
  case $openbox_first in -* | run) exit 255 ;; esac
  exit 6
}
openbox_first=${1-}

if [ -n "${OPENBOX_CACHE-}" ]; then
  openbox_cache=$OPENBOX_CACHE
elif [ -n "${HOME-}" ]; then
  openbox_cache=$HOME/@CACHE@
else
  openbox_refuse "Cannot tell where to unpack to: neither OPENBOX_CACHE nor HOME is set" \
    "export OPENBOX_CACHE=/path/to/a/directory/of/yours"
fi
case $openbox_cache in /*) ;; *) openbox_cache=$PWD/$openbox_cache ;; esac
openbox_dir=$openbox_cache/$openbox_id

case $0 in
/*) openbox_program=$0 ;;
*/*) openbox_program=$PWD/$0 ;;
*) openbox_program=$(command -v "$0") || openbox_program=$PWD/$0 ;; # sh openbox
esac
case $openbox_program in /*) ;; *) openbox_program=$PWD/$openbox_program ;; esac

# Whether what was unpacked is there as it was left: whose it is, who else may write, how long the files of each
# start are, and by the time of the directory that no file came or went. Its content was checked before it got
# its name, and nobody else can have changed it since.
openbox_is_whole() {
  [ -O "$openbox_cache" ] && [ -O "$openbox_dir" ] && [ ! -L "$openbox_dir" ] || return 1
  # the caller may have told ls to show times, sizes and names in another way
  case $(LC_ALL=C TIME_STYLE=locale QUOTING_STYLE=literal BLOCK_SIZE=1 LS_BLOCK_SIZE=1 ls -lnd \
    "$openbox_cache" "$openbox_dir" "$openbox_dir/deno" "$openbox_dir/main.js" 2>/dev/null) in
  d????-??-?*"
drwx------"*" 2000 $openbox_dir
-rwx------"*" $openbox_deno_size "*"
-rw-------"*" $openbox_main_size "*) ;;
  *) return 1 ;;
  esac
}

# What is imported late is looked at late: else Deno would read all of the program for the little that a
# command needs of it.
openbox_start() {
  openbox_main=$openbox_dir/main.js openbox_code=$openbox_dir
  @ENVIRONMENT@
  export OPENBOX_PROGRAM="$openbox_program" DENO_DIR="$openbox_dir/code"
  @PERMISSIONS@
  # compiled code that was kept saves 50 ms of what a command does itself, and costs 1.5 ms to look for, which
  # is more than it saves where a daemon does all that
  case $openbox_first in
  run | -*) [ ! -S "${OPENBOX_DAEMON_SOCKET:-$openbox_home/openboxd.sock}" ] || set -- --no-code-cache "$@" ;;
  esac
  exec "$openbox_dir/deno" run --quiet --no-prompt --no-config --no-lock --no-check --no-remote --no-npm \
    --cached-only --unstable-net --unstable-lazy-dynamic-imports "$@"
}

if openbox_is_whole; then openbox_start "$@"; fi

# From here on: the first start.

openbox_check_machine() {
  case @TARGET@:$(uname -s):$(uname -m) in
  linux-x64:Linux:x86_64 | linux-x64:Linux:amd64 | linux-arm64:Linux:aarch64 | linux-arm64:Linux:arm64) ;;
  macos-x64:Darwin:* | macos-arm64:Darwin:arm64) ;;
  *)
    openbox_refuse "This openbox is for @TARGET@, and this machine is $(uname -s) on $(uname -m)" \
      "take the download for this machine, or run scripts/openbox from a clone"
    ;;
  esac
  case @TARGET@ in
  linux-*)
    openbox_libc=$(getconf GNU_LIBC_VERSION 2>/dev/null) || openbox_libc=
    openbox_found=${openbox_libc#glibc }
    if [ -z "$openbox_libc" ]; then
      for openbox_loader in /lib/ld-musl-*; do
        [ -e "$openbox_loader" ] || continue
        openbox_refuse "This system has musl, as Alpine does; Deno, in which openbox runs, needs glibc @NEEDS@ or newer" \
          "run it on Debian, Ubuntu, Fedora or the like, or in a container of one: debian:stable-slim"
      done
    fi
    ;;
  *) openbox_found=$(sw_vers -productVersion 2>/dev/null) || openbox_found= ;;
  esac
  openbox_older "${openbox_found:-@NEEDS@}" @NEEDS@ || return 0
  case @TARGET@ in
  linux-*) openbox_refuse "This system has glibc $openbox_found; openbox needs @NEEDS@ or newer" "update the system, or run openbox in a container of a newer one" ;;
  *) openbox_refuse "This is macOS $openbox_found; openbox needs @NEEDS@ or newer" "update macOS" ;;
  esac
}

# Whether version $1 comes before version $2: by the first number, then by the second.
openbox_older() (
  major=${1%%.*} rest=${1#*.} needed=${2%%.*} needed_rest=${2#*.}
  [ "$rest" != "$1" ] || rest=0
  minor=${rest%%[!0-9]*} needed_minor=${needed_rest%%[!0-9]*}
  [ "$major" -lt "$needed" ] || { [ "$major" -eq "$needed" ] && [ "${minor:-0}" -lt "${needed_minor:-0}" ]; }
)

openbox_make_cache() {
  mkdir -p "$openbox_cache" 2>/dev/null
  [ -d "$openbox_cache" ] || openbox_refuse "Cannot make the directory $openbox_cache to unpack into" "$openbox_elsewhere"
  case $(LC_ALL=C ls -lnd "$openbox_cache/.") in
  d????-??-?*) [ ! -O "$openbox_cache" ] || return 0 ;;
  esac
  openbox_refuse "$openbox_cache belongs to another user, or others may write there" "$openbox_elsewhere"
}
openbox_elsewhere="export OPENBOX_CACHE=/path/to/a/directory/of/yours"

# What a start that was killed has left: of this machine if its process is gone, of another one after a day.
openbox_remove_left() {
  for openbox_left in "$openbox_cache"/incoming.*; do
    case $openbox_left in
    *"/incoming.$openbox_host."*) ! kill -0 "${openbox_left##*.}" 2>/dev/null || continue ;;
    *) [ -n "$(find "$openbox_left" -prune -mtime +1 2>/dev/null)" ] || continue ;;
    esac
    rm -rf "$openbox_left"
  done
}

# Other versions: unpacked a month ago or more, and no process runs from them. One that is wanted again is
# unpacked again.
openbox_remove_old() {
  openbox_running=$(ps -A -o args= 2>/dev/null) || return 0
  for openbox_old in "$openbox_cache"/*; do
    openbox_name=${openbox_old##*/}
    case ${#openbox_name}$openbox_name in 32$openbox_id | *[!0-9a-f]*) continue ;; 32*) ;; *) continue ;; esac
    [ -n "$(find "$openbox_old/sums" -prune -mtime +30 2>/dev/null)" ] || continue
    case $openbox_running in *"$openbox_old/deno"*) continue ;; esac
    rm -rf "$openbox_old"
  done
}

openbox_hash() {
  if command -v sha256sum >/dev/null; then sha256sum "$@"
  elif command -v shasum >/dev/null; then shasum -a 256 "$@"
  else openssl dgst -sha256 -r "$@"
  fi
}

# In a directory that no other start has, under a name that says whose it is. Prints why it failed.
openbox_unpack() (
  umask 077
  cd "$openbox_incoming" || exit
  tail -c +@OFFSET@ <"$openbox_program" | gzip -dc | tar -xf - || exit
  openbox_sum() { openbox_hash "$@" | sed 's/^\([0-9a-f]*\)[ *]*/\1  /'; }
  [ "$(openbox_sum sums)" = "@SUMS_HASH@  sums" ] && [ "$(openbox_sum deno main.js settle.js @FILES@)" = "$(cat sums)" ] ||
    { echo "a checksum differs" && exit 1; }
)

openbox_unpack_once() {
  openbox_check_machine
  for openbox_tool in gzip tar tail sed cat ls mkdir rm mv uname; do
    command -v "$openbox_tool" >/dev/null ||
      openbox_refuse "The first start unpacks openbox, for which $openbox_tool is missing" "install $openbox_tool"
  done
  command -v sha256sum >/dev/null || command -v shasum >/dev/null || command -v openssl >/dev/null ||
    openbox_refuse "The first start checks what it unpacks, and there is neither sha256sum nor shasum nor openssl" \
      "install coreutils, or openssl"
  openbox_make_cache
  openbox_host=$(uname -n)
  openbox_remove_left
  openbox_incoming=$openbox_cache/incoming.$openbox_host.$$
  trap 'rm -rf "$openbox_incoming"' EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  mkdir -m 700 "$openbox_incoming" 2>/dev/null ||
    openbox_refuse "Cannot write to $openbox_cache" "$openbox_elsewhere"
  [ ! -t 2 ] || printf 'openbox: unpacking into %s (once)\n' "$openbox_cache" >&2
  openbox_why=$(openbox_unpack 2>&1) || {
    case $openbox_why in
    *"o space left"* | *"uota exceeded"*)
      openbox_refuse "No space to unpack openbox into $openbox_cache" "free @MEGABYTES@ MB there, or $openbox_elsewhere" ;;
    *checksum* | *gzip:* | *"nexpected "*)
      openbox_refuse "$openbox_program is not whole: $openbox_why" "download it again" ;;
    esac
    openbox_refuse "Cannot unpack into $openbox_cache: $openbox_why" "$openbox_elsewhere"
  }
  openbox_is_whole || openbox_why=$(openbox_settle 2>&1 </dev/null) || {
    case $openbox_why in
    *GLIBC* | *GLIBCXX*) openbox_refuse "This system is too old for Deno: $openbox_why" "update it" ;;
    *"ermission denied"*)
      openbox_refuse "$openbox_cache does not let programs be run: it may be mounted noexec" "$openbox_elsewhere" ;;
    esac
    openbox_refuse "Cannot finish unpacking into $openbox_cache: $openbox_why" "$openbox_elsewhere"
  }
  rm -rf "$openbox_incoming"
  openbox_remove_old
  trap - EXIT HUP INT TERM
}

# The rename that makes it whole for all. Deno does it, since mv would move into a directory that another
# start has just put there; and then Deno has been seen to run here.
openbox_settle() (
  @ENVIRONMENT@
  DENO_DIR=$openbox_incoming/code exec "$openbox_incoming/deno" run --quiet --no-prompt --no-config --no-lock \
    --no-remote --no-npm --no-code-cache --allow-read="$openbox_cache" --allow-write="$openbox_cache" \
    "$openbox_incoming/settle.js" "$openbox_incoming" "$openbox_dir"
)

openbox_unpack_once
openbox_is_whole || openbox_refuse "What was unpacked into $openbox_dir is not as it should be" "rm -rf $openbox_dir, and try again; if it comes back, $openbox_elsewhere"
openbox_start "$@"
exit
