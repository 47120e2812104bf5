# shellcheck shell=sh
# Which of Deno's permissions a mode gets: what both launchers, scripts/openbox and the built executable,
# source before they start it. It puts the flags before the words in "$@" (docs/security.md › Permissions).
# openbox_program is the launcher's own path, openbox_code a folder out of which the program loads more of
# itself, if any. In the commonest case, a command on a node, this starts no
# process and no subshell.

openbox_home=${OPENBOX_HOME:-${HOME:-}/.openbox}
# Deno would read it as two paths, and allow both.
case $openbox_home in *,*) openbox_refuse "the path of openbox's home has a comma" "set OPENBOX_HOME to another" ;; esac
case $openbox_code in *,*) openbox_refuse "the path $openbox_code has a comma" "set OPENBOX_CACHE to another" ;; esac
case $openbox_program in *,*) openbox_refuse "the path $openbox_program has a comma" "move openbox to another folder" ;; esac

# The file of a database: OPENBOX_DB and --db may be the address of a Postgres instead, which is no path,
# holds a password, and must not get into Deno's arguments. Of it only the certificate's file is read.
openbox_database_file() {
  case $1 in
  [Pp][Oo][Ss][Tt][Gg][Rr][Ee][Ss]*://*) ;;
  *) printf '%s' "$1" ;;
  esac
}
openbox_root_cert_file() {
  case $1 in
  [Pp][Oo][Ss][Tt][Gg][Rr][Ee][Ss]*://*[?\&]sslrootcert=*)
    printf '%s' "$1" | sed -e 's/.*[?&]sslrootcert=//' -e 's/&.*//' -e 's/%2[Ff]/\//g'
    ;;
  esac
}

# What the control plane may read: its home, and the folders of the files that its settings name.
openbox_control_folders() (
  folders=$openbox_home${openbox_code:+,$openbox_code}
  add() {
    case $1 in
    '' | database) ;; # the CA can lie there
    /*) folder=${1%/*} folders=$folders,${folder:-/} ;;
    # what a relative name is relative to has to be known
    *) folders=$folders,$PWD ;;
    esac
  }
  case $openbox_home in /*) ;; *) add "$openbox_home" ;; esac
  database() {
    add "$(openbox_database_file "$1")"
    add "$(openbox_root_cert_file "$1")"
  }
  database "${OPENBOX_DB-}"
  for file in "${OPENBOX_CA-}" "${OPENBOX_TLS_CERT-}" "${OPENBOX_TLS_KEY-}" \
    "${OPENBOX_BOOTSTRAP_TOKEN_FILE-}" "${OPENBOX_CA_PASSPHRASE_FILE-}"; do
    add "$file"
  done
  flag=
  for argument; do
    case $flag in --db) database "$argument" ;; --ca | --ca-passphrase-file | --tls-cert | --tls-key | --bootstrap-token-file) add "$argument" ;; esac
    case $argument in --db=*) database "${argument#*=}" ;; --ca=* | --ca-passphrase-file=* | --tls-cert=* | --tls-key=* | --bootstrap-token-file=*) add "${argument#*=}" ;; esac
    flag=$argument
  done
  printf '%s\n' "$folders"
)

# What it may write: its home, and the database and the folder of the CA key where they are elsewhere.
openbox_control_files() (
  files=$openbox_home
  add() {
    file=$(openbox_database_file "$1")
    files=$files${file:+,$file,$file.pid,$file.copy,$file.copy-wal,$file.copy-shm}
  }
  add_ca() {
    case $1 in '' | database) ;; *) files=$files,$(dirname "$1") ;; esac
  }
  add "${OPENBOX_DB-}"
  add_ca "${OPENBOX_CA-}"
  flag=
  for argument; do
    case $flag in --db) add "$argument" ;; --ca) add_ca "$argument" ;; esac
    case $argument in --db=*) add "${argument#*=}" ;; --ca=*) add_ca "${argument#*=}" ;; esac
    flag=$argument
  done
  printf '%s\n' "$files"
)

# The files that the flags of a command of the CLI name: those to read, or with `write` those to make.
# `backup` makes its file beside it first; `restore` makes a new database beside the one that it replaces.
openbox_cli_files() (
  kind=$1
  shift
  command=${1-}
  files=
  add() { [ -z "$1" ] || files=$files,$1; }
  add_database() {
    file=$(openbox_database_file "$1")
    [ -z "$file" ] || add "$(dirname "$file")"
    [ "$kind" = write ] || add "$(openbox_root_cert_file "$1")"
  }
  named() {
    case $kind:$command:$1 in
    *:restore:--db) add_database "$2" ;;
    write:token:--out) add "$2" ;;
    read:*:--token-file | read:*:--tls-ca | read:*:--passphrase-file) [ "$2" = - ] || add "$2" ;;
    esac
  }
  [ "$command" != restore ] || add_database "${OPENBOX_DB-}"
  flag=
  for argument; do
    named "$flag" "$argument"
    case $argument in --*=*) named "${argument%%=*}" "${argument#*=}" ;; esac
    case $command:$argument in
    *:-* | backup:backup | restore:restore) ;;
    backup:*) add "$argument" && add "$argument.partial" ;;
    restore:*) [ "$kind" = write ] || add "$argument" ;;
    esac
    flag=$argument
  done
  # what a relative name is relative to has to be known
  case $kind,$files, in read,*,[!/,]*) add "$PWD" ;; esac
  printf '%s\n' "$files"
)

# A folder for the daemon's socket, which is otherwise in the home.
openbox_add_socket() {
  case $1 in
  '') return ;;
  */*) set -- "${1%/*}" ;;
  *) set -- "$PWD" ;;
  esac
  openbox_read=$openbox_read,${1:-/} openbox_write=$openbox_write,${1:-/}
}

openbox_read=$openbox_home${openbox_code:+,$openbox_code}${OPENBOX_TLS_CA:+,$OPENBOX_TLS_CA}
openbox_write=$openbox_home
openbox_add_socket "${OPENBOX_DAEMON_SOCKET-}"

# what a relative name is relative to has to be known
case ,$openbox_read in *,[!/]*) openbox_read=$openbox_read,$PWD ;; esac

case ${1-} in
control)
  openbox_read=$(openbox_control_folders "$@") openbox_write=$(openbox_control_files "$@")
  # systemd's socket, which it is told at that it lives
  case ${NOTIFY_SOCKET-} in /*) openbox_write=$openbox_write,$NOTIFY_SOCKET ;; esac
  set -- --allow-net --allow-env --allow-sys=uid,networkInterfaces \
    --allow-read="$openbox_read" --allow-write="$openbox_write" "$openbox_main" "$@"
  ;;
agent)
  # whoever may start commands may do anything; for /proc and cgroups Deno wants it said
  set -- --allow-all "$openbox_main" "$@"
  ;;
daemon)
  openbox_flag=
  for openbox_word; do
    case $openbox_flag in --socket) openbox_add_socket "$openbox_word" ;; esac
    case $openbox_word in --socket=*) openbox_add_socket "${openbox_word#*=}" ;; esac
    openbox_flag=$openbox_word
  done
  case ${NOTIFY_SOCKET-} in /*) openbox_write=$openbox_write,$NOTIFY_SOCKET ;; esac
  # the space for what lives briefly, which otherwise grows with what is alive: with 400 warm connections it
  # is 20 MB less, and no command is slower
  set -- --v8-flags=--max-semi-space-size=4 --allow-net --allow-env --allow-sys=uid \
    --allow-read="$openbox_read" --allow-write="$openbox_write" "$openbox_main" "$@"
  ;;
service | doctor)
  # the manager of services, and files all over the machine
  set -- --allow-net --allow-env --allow-sys --allow-run=systemctl,loginctl,launchctl \
    --allow-read --allow-write "$openbox_main" "$@"
  ;;
upgrade)
  # the new executable, wherever it is
  set -- --allow-net --allow-env --allow-sys --allow-run --allow-read --allow-write "$openbox_main" "$@"
  ;;
login | token | ca | backup | restore)
  set -- --allow-net --allow-env --allow-sys=uid \
    --allow-read="$openbox_read$(openbox_cli_files read "$@")" \
    --allow-write="$openbox_write$(openbox_cli_files write "$@")" "$openbox_main" "$@"
  ;;
run | -*)
  # the daemon, and what makes a terminal ready for a remote one; both before it connects to anything
  set -- --allow-net --allow-env --allow-sys=uid --allow-run=/bin/sh,"$openbox_program" \
    --allow-read="$openbox_read" --allow-write="$openbox_write" "$openbox_main" "$@"
  ;;
*)
  set -- --allow-net --allow-env --allow-sys=uid \
    --allow-read="$openbox_read" --allow-write="$openbox_write" "$openbox_main" "$@"
  ;;
esac
