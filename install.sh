#!/bin/sh
# Installs openbox, or replaces it with another version:
#
#     curl -fsSL URL/install.sh | sh
#     curl -fsSL URL/install.sh | sh -s -- uninstall
#
# OPENBOX_VERSION    this version, such as 1.2.3; by default the latest
# OPENBOX_BIN_DIR    where it goes; by default /usr/local/bin where that is writable, else ~/.local/bin
# OPENBOX_REPO       the GitHub repository that it is a release of, OWNER/NAME
# OPENBOX_BASE_URL   a mirror, laid out as the releases on GitHub: latest/download/FILE, download/vVERSION/FILE
#
# Nothing is unpacked before the release's signature and the checksums fit, and nothing is replaced before
# the new executable has answered. All of it is one function, called by the last line: of a download that
# was cut off nothing runs. It is a subshell, so that nothing of it stays where the file is sourced.
openbox_install() (
  # What the build of a release fills in; empty in the sources. A key a line, with the last day of its life.
  release_repo=''
  release_version=''
  release_keys=''

  # The least that the Deno inside runs on.
  least_glibc=2.27
  least_macos=12

  set -u
  umask 022
  # a-z in a pattern means ASCII, and tools' messages are in one language
  LC_ALL=C
  export LC_ALL
  namespace=openbox-release
  work='' incoming=''

  say() { printf '%s\n' "$*" >&2; }

  die() {
    say "openbox install: $1"
    [ "$#" -lt 2 ] || say "  hint: $2"
    exit 1
  }

  have() { command -v "$1" >/dev/null 2>&1; }

  # shellcheck disable=SC2317 # the trap calls it
  tidy() {
    [ -z "$incoming" ] || rm -f "$incoming"
    [ -z "$work" ] || rm -rf "$work"
  }

  start() {
    trap tidy EXIT
    trap 'exit 129' HUP
    trap 'exit 130' INT
    trap 'exit 143' TERM
    work=$(mktemp -d "${TMPDIR:-/tmp}/openbox-install.XXXXXX") || die "cannot make a folder in ${TMPDIR:-/tmp}"
  }

  # Sets os, arch: those of this machine, in the words of the release.
  find_system() {
    case $(uname -s) in
    Linux) os=linux ;;
    Darwin) os=darwin ;;
    *) die "there is no openbox for $(uname -s), only for Linux and macOS" ;;
    esac
    case $(uname -m) in
    x86_64 | amd64) arch=amd64 ;;
    aarch64 | arm64) arch=arm64 ;;
    *) die "there is no openbox for $(uname -m), only for x86_64 (amd64) and arm64" ;;
    esac
    if [ "$os" = linux ]; then check_linux; else check_macos; fi
  }

  check_linux() {
    libc=$(getconf GNU_LIBC_VERSION 2>/dev/null) || libc=$(ldd --version 2>&1) || :
    case $libc in
    *musl*) refuse_musl ;;
    'glibc '*) libc=${libc#glibc } ;;
    *GLIBC* | *'GNU libc'*)
      # ldd (Debian GLIBC 2.36-9) 2.36, and the licence below it
      libc=${libc%%"
"*}
      libc=${libc##* }
      ;;
    *)
      for loader in /lib/ld-musl-*; do
        [ ! -e "$loader" ] || refuse_musl
      done
      die "cannot tell the C library of this system; openbox needs glibc $least_glibc or newer"
      ;;
    esac
    older "$libc.0" "$least_glibc.0" && die "glibc here is $libc; openbox needs $least_glibc or newer"
    [ "$(getconf LONG_BIT 2>/dev/null)" != 32 ] || die "the programs of this system are 32-bit ones; openbox is 64-bit"
  }

  refuse_musl() {
    die "this system has musl as its C library (Alpine, Void); openbox needs glibc $least_glibc or newer" \
      "run it in a container of a glibc system, such as debian:12-slim"
  }

  check_macos() {
    # under Rosetta a shell is told that the processor is an Intel one
    [ "$(sysctl -n sysctl.proc_translated 2>/dev/null)" != 1 ] || arch=arm64
    macos=$(sw_vers -productVersion) || die "cannot tell the version of macOS"
    older "$macos.0.0" "$least_macos.0.0" && die "macOS here is $macos; openbox needs $least_macos or newer"
    return 0
  }

  # Whether the three numbers that version $1 begins with are lower than those of $2; of equal ones a
  # version with something behind it, such as 1.0.0-rc.1, comes before the one without.
  older() {
    IFS=.- read -r a1 a2 a3 _ <<EOF
$1
EOF
    IFS=.- read -r b1 b2 b3 _ <<EOF
$2
EOF
    for pair in "$a1:$b1" "$a2:$b2" "$a3:$b3"; do
      case $pair in
      :* | *: | *[!0-9:]*) die "cannot compare the versions $1 and $2" ;;
      esac
      [ "${pair%:*}" -ge "${pair#*:}" ] || return 0
      [ "${pair%:*}" -le "${pair#*:}" ] || return 1
    done
    # of the system's own only the first three numbers count
    case $1:$2 in
    *-*:*-*) return 1 ;;
    *-*:*) return 0 ;;
    esac
    return 1
  }

  is_version() {
    case $1 in
    *[!0-9A-Za-z.-]* | *..* | .* | -*) return 1 ;;
    [0-9]*.[0-9]*.[0-9]*) ;;
    *) return 1 ;;
    esac
    core=${1%%-*}
    case $core in
    *[!0-9.]* | *.*.*.* | *.) return 1 ;;
    esac
    [ "${#1}" -le 64 ]
  }

  # Sets base, wanted: where the releases are, and the version that was asked for.
  read_settings() {
    wanted=${OPENBOX_VERSION:-}
    wanted=${wanted#v}
    [ "$wanted" != latest ] || wanted=
    [ -z "$wanted" ] || is_version "$wanted" || die "OPENBOX_VERSION is no version such as 1.2.3"
    [ -n "$release_keys" ] || die "this install.sh has no release key, so it believes no release" \
      "use the install.sh of a release; the one in the sources is what it is made of"
    base=${OPENBOX_BASE_URL:-}
    if [ -z "$base" ]; then
      repo=${OPENBOX_REPO:-$release_repo}
      [ -n "$repo" ] || die "nothing says where openbox comes from" "set OPENBOX_REPO=OWNER/NAME, or OPENBOX_BASE_URL"
      case $repo in
      *[!A-Za-z0-9._/-]* | */*/* | /* | */ | .* | */.* | -*) die "OPENBOX_REPO is no OWNER/NAME" ;;
      */*) ;;
      *) die "OPENBOX_REPO is no OWNER/NAME" ;;
      esac
      base=https://github.com/$repo/releases
    fi
    base=${base%/}
    case $base in
    *[!][A-Za-z0-9._~:/%+-]*) die "OPENBOX_BASE_URL has a character that no address of a mirror has" ;;
    https://*) protocols='=https' ;;
    http://*) protocols='=http,https' ;;
    *) die "OPENBOX_BASE_URL must begin with https:// or http://" ;;
    esac
  }

  # What all of it needs, so that it fails before the first download.
  check_tools() {
    if have curl; then loader=curl; elif have wget; then loader=wget; else
      die "neither curl nor wget is installed" "apt-get install curl, or dnf, pacman, zypper, brew install curl"
    fi
    have ssh-keygen || die "ssh-keygen is not installed; it checks the release's signature" \
      "apt-get install openssh-client (Debian, Ubuntu), dnf install openssh (Fedora, RHEL), pacman -S openssh (Arch)"
    if have sha256sum; then hasher=sha256sum; elif have shasum; then hasher=shasum; elif have openssl; then hasher=openssl; else
      die "no sha256sum, shasum or openssl is installed; one of them checks the download" "apt-get install coreutils"
    fi
    for tool in tar gzip mktemp; do
      have "$tool" || die "$tool is not installed" "apt-get install $tool, or what it is called here"
    done
  }

  # download URL FILE BYTES: no more than about that much is taken.
  download() {
    (
      # in blocks of 512 bytes; bash counts in 1024
      ulimit -f "$(($3 / 512 + 1))"
      case $loader in
      curl) curl -fsSL --proto "$protocols" --connect-timeout 20 --speed-limit 1 --speed-time 60 -o "$2" "$1" ;;
      wget)
        # busybox has neither flag
        if wget --version >/dev/null 2>&1; then wget -q --timeout=60 --tries=2 -O "$2" "$1"; else wget -q -O "$2" "$1"; fi
        ;;
      esac
    ) </dev/null >"$work/said" 2>&1
    case $? in
    0) ;;
    153) die "cannot use $1: it is longer than it may be" ;; # by SIGXFSZ
    *) die "cannot download $1: $(first_line "$work/said")" ;;
    esac
    [ -s "$2" ] || die "cannot use $1: it is empty"
  }

  first_line() {
    line=''
    IFS= read -r line <"$1" || :
    printf '%s\n' "${line:-no reason was given}"
  }

  # Fetches what the release says of itself, and believes it only with a signature of a release key.
  # Sets version, sum, size: of the tarball for this system.
  read_release() {
    if [ -n "$wanted" ]; then place=$base/download/v$wanted; else place=$base/latest/download; fi
    download "$place/openbox-release.txt" "$work/release" 65536
    download "$place/openbox-release.txt.sig" "$work/release.sig" 4096
    verify_release
    version='' sum='' size=''
    { IFS= read -r first && [ "$first" = openbox-release-v1 ]; } <"$work/release" ||
      die "the release is of a form that this install.sh does not know" "use the install.sh of that release"
    while read -r word name bytes hash; do
      case $word:$name in
      version:*) version=$name ;;
      file:"$tarball") size=$bytes sum=$hash ;;
      esac
    done <"$work/release"
    is_version "$version" || die "the release does not say its version"
    [ -n "$sum" ] || die "release $version has no $tarball"
    case $size in
    '' | *[!0-9]* | ??????????*) die "release $version does not say the size of $tarball" ;;
    esac
    if [ -n "$wanted" ]; then
      [ "$version" = "$wanted" ] || die "asked for $wanted, and got the release $version: it is not installed"
    elif [ -n "$release_version" ] && older "$version" "$release_version"; then
      # whoever serves an old release, signed as it is, would bring its known faults back
      die "the latest release is told to be $version, which is older than this install.sh ($release_version)" \
        "if it is what you want: OPENBOX_VERSION=$version"
    fi
  }

  verify_release() {
    today=$(date -u +%Y%m%d)
    ended=''
    : >"$work/signers"
    while read -r until type key _; do
      case $until in
      '' | '#'*) continue ;;
      esac
      if [ "$today" -le "$(printf %s "$until" | tr -d -)" ]; then
        printf '%s %s %s\n' "$namespace" "$type" "$key" >>"$work/signers"
      else
        ended=$until
      fi
    done <<EOF
$release_keys
EOF
    [ -s "$work/signers" ] || die "the release key of this install.sh was good until $ended" "use the install.sh of a newer release"
    ssh-keygen -Y verify -f "$work/signers" -I "$namespace" -n "$namespace" -s "$work/release.sig" \
      <"$work/release" >"$work/said" 2>&1 && return
    case $(cat "$work/said") in
    *'unknown option'* | *'illegal option'* | *'invalid option'* | *usage:*)
      die "ssh-keygen here is too old to check the release's signature" "it takes OpenSSH 8.1 or newer"
      ;;
    esac
    die "the signature of $place/openbox-release.txt is not by the release key: nothing is installed" \
      "if you use a mirror, ask who keeps it; else report it"
  }

  hash_of() {
    case $hasher in
    sha256sum) sha256sum <"$1" ;;
    shasum) shasum -a 256 <"$1" ;;
    openssl) openssl dgst -sha256 -r <"$1" ;;
    esac
  }

  # The tarball, as the signed release and the file of its checksum say; then what is in it, as "$work/openbox".
  fetch_executable() {
    place=$base/download/v$version
    download "$place/$tarball.sha256" "$work/sum" 4096
    told=''
    read -r told _ <"$work/sum" || :
    [ "$told" = "$sum" ] || die "$place/$tarball.sha256 says something else than the signed release: nothing is installed"
    say "openbox install: downloading openbox $version for $os $arch"
    download "$place/$tarball" "$work/$tarball" "$size"
    length=$(wc -c <"$work/$tarball")
    [ "$((length))" = "$size" ] || die "$tarball has $((length)) bytes and should have $size: nothing is installed"
    found=$(hash_of "$work/$tarball") || die "cannot tell the checksum of $tarball: $hasher failed"
    [ "${found%% *}" = "$sum" ] || die "the checksum of $tarball is wrong: nothing is installed"
    mkdir "$work/unpacked" || die "cannot write to $work"
    (cd "$work/unpacked" && tar -xzf "../$tarball" openbox) </dev/null >"$work/said" 2>&1 ||
      die "cannot unpack $tarball: $(first_line "$work/said")"
    { [ -f "$work/unpacked/openbox" ] && [ ! -L "$work/unpacked/openbox" ]; } || die "$tarball holds no openbox"
  }

  # Prints the version that an openbox answers with; fails where it says none within half a minute.
  version_of() {
    "$1" version </dev/null >"$work/answer" 2>"$work/said" &
    asked=$!
    # told by a file and not by a signal: bash would run our own traps at one that comes just after the fork
    (
      left=30
      while [ -d "$work" ] && [ ! -e "$work/answered.$asked" ]; do
        left=$((left - 1))
        [ "$left" -ge 0 ] || { kill -9 "$asked" && break; }
        sleep 1
      done
    ) </dev/null >/dev/null 2>&1 &
    wait "$asked"
    code=$?
    : >"$work/answered.$asked"
    [ "$code" = 0 ] || return 1
    IFS= read -r answer <"$work/answer" || :
    case $answer in
    'openbox '*) answer=${answer#openbox } ;;
    *) return 1 ;;
    esac
    is_version "${answer%% *}" || return 1
    printf '%s\n' "${answer%% *}"
  }

  # Sets bin_dir, without links, and makes it.
  find_bin_dir() {
    bin_dir=${OPENBOX_BIN_DIR:-}
    if [ -z "$bin_dir" ]; then
      if [ -d /usr/local/bin ] && [ -w /usr/local/bin ]; then
        bin_dir=/usr/local/bin
      else
        [ -n "${HOME:-}" ] || die "neither OPENBOX_BIN_DIR nor HOME is set, and /usr/local/bin is not writable"
        bin_dir=$HOME/.local/bin
      fi
    fi
    mkdir -p -- "$bin_dir" 2>"$work/said" || die "cannot make $bin_dir: $(first_line "$work/said")"
    bin_dir=$(CDPATH='' cd -P -- "$bin_dir" && pwd -P) || die "cannot use the folder $bin_dir"
    [ -w "$bin_dir" ] || die "cannot write to $bin_dir" "set OPENBOX_BIN_DIR to a folder of yours, or run this as its owner"
    target=$bin_dir/openbox
  }

  # What is there already: another program of that name, and there is one, is left alone.
  check_installed() {
    installed=''
    [ ! -L "$target" ] || die "$target is a link" "rm $target, or set OPENBOX_BIN_DIR to the folder that it leads to"
    [ -e "$target" ] || return 0
    [ -f "$target" ] || die "$target is no file" "set OPENBOX_BIN_DIR to another folder"
    installed=$(version_of "$target") || die "$target is there, and does not answer as openbox" \
      "if it is a broken openbox: rm $target"
    [ -n "$wanted" ] || ! older "$version" "$installed" || die "openbox $installed is here, and the latest release is told to be $version" \
      "if it is what you want: OPENBOX_VERSION=$version"
  }

  # A copy beside the old one, and a rename: whoever starts openbox meanwhile gets one or the other, whole,
  # and what runs keeps the file that it was started from.
  replace() {
    sweep
    incoming=$bin_dir/.openbox.new.$$
    { cp "$work/unpacked/openbox" "$incoming" && chmod 755 "$incoming"; } 2>"$work/said" ||
      die "cannot write to $bin_dir: $(first_line "$work/said")"
    answered=$(version_of "$incoming") || die "the new openbox does not start here: $(first_line "$work/said")"
    [ "$answered" = "$version" ] || die "the new openbox says that it is $answered, and the release $version"
    if [ -n "$installed" ]; then
      kept=$bin_dir/.openbox.old.$$
      ln "$target" "$kept" 2>/dev/null || cp -p "$target" "$kept" || die "cannot keep the old openbox in $bin_dir"
      # mv does nothing where both are links to one file, as after a run that was killed here
      rm -f "$bin_dir/.openbox.old"
      mv -f "$kept" "$bin_dir/.openbox.old" || die "cannot keep the old openbox in $bin_dir"
    fi
    mv -f "$incoming" "$target" || die "cannot put openbox into $bin_dir"
    incoming=''
  }

  # What an install or an upgrade left that was killed: their names end in the number of the process.
  sweep() {
    for left in "$bin_dir"/.openbox.new.* "$bin_dir"/.openbox.old.*; do
      [ -f "$left" ] || continue
      kill -0 "${left##*.}" 2>/dev/null || rm -f "$left"
    done
  }

  report() {
    say "openbox $version is $target"
    if [ -n "$installed" ] && [ "$installed" != "$version" ]; then
      say "  the one before, $installed, is kept; back to it: mv $bin_dir/.openbox.old $target"
      say "  what runs goes on with the old one until it is started anew: openbox service status"
    fi
    found=$(command -v openbox 2>/dev/null) || found=''
    case :$PATH: in
    *:"$bin_dir":*) [ "$found" = "$target" ] || [ -z "$found" ] || say "  note: openbox on your PATH is another one, $found" ;;
    *)
      say "  $bin_dir is not on your PATH; add this line to ~/.profile (zsh: ~/.zprofile):"
      # shellcheck disable=SC2016 # for the file, not for now
      case $bin_dir in
      "${HOME:-/nowhere}"/*) say "    export PATH=\"\$HOME${bin_dir#"$HOME"}:\$PATH\"" ;;
      *) say "    export PATH=\"$bin_dir:\$PATH\"" ;;
      esac
      ;;
    esac
  }

  install_openbox() {
    find_system
    tarball=openbox-$os-$arch.tar.gz
    read_settings
    check_tools
    start
    find_bin_dir
    read_release
    check_installed
    fetch_executable
    replace
    report
  }

  uninstall_openbox() {
    start
    removed=''
    if [ -n "${OPENBOX_BIN_DIR:-}" ]; then set -- "$OPENBOX_BIN_DIR"; else set -- /usr/local/bin "${HOME:-/nowhere}/.local/bin"; fi
    for bin_dir; do
      target=$bin_dir/openbox
      { [ -f "$target" ] && [ ! -L "$target" ]; } || continue
      version_of "$target" >/dev/null || die "$target does not answer as openbox: it is left" \
        "if it is a broken openbox: rm $target"
      refuse_services
      [ -w "$bin_dir" ] || die "cannot write to $bin_dir" "run this as its owner"
      rm -f "$target" "$bin_dir/.openbox.old" || die "cannot remove $target"
      sweep
      say "openbox is removed from $bin_dir"
      removed=yes
    done
    [ -n "$removed" ] || die "nothing to remove: no openbox in $*" "set OPENBOX_BIN_DIR to its folder"
    say "  its login, keys and data stay in ~/.openbox; rm -r ~/.openbox takes them away for good"
    say "  what it unpacked is in ~/.cache/openbox (macOS: ~/Library/Caches/openbox), and can go"
  }

  # A service whose program is gone would be started anew for ever.
  refuse_services() {
    for unit in /etc/systemd/system "${XDG_CONFIG_HOME:-${HOME:-/nowhere}/.config}/systemd/user" \
      /Library/LaunchDaemons "${HOME:-/nowhere}/Library/LaunchAgents"; do
      for file in "$unit"/*openbox*; do
        [ -f "$file" ] || continue
        grep -qF -- "$target" "$file" 2>/dev/null || continue
        die "a service uses $target: $file" "openbox service status, then openbox service uninstall agent, control or daemon"
      done
    done
  }

  case ${1:-install} in
  install) install_openbox ;;
  uninstall | --uninstall) uninstall_openbox ;;
  *) die "no such thing to do: $1" "sh install.sh, or sh install.sh uninstall; its first lines say the rest" ;;
  esac
)
{ openbox_install "$@"; }
