#!/bin/sh
# A hub on this machine alone, with a made-up tenant: for a newcomer who wants to see it. Nothing is left behind.
#
# usage: hub/demo.sh ENTRAR HUB LIBRARY
#
# ENTRAR and HUB are the programs `entrar` and `entrar-hub`, LIBRARY is where the R package is installed. HUB_DEMO_PORT is
# the first of three ports (8790 by default). Root names in HUB_DEMO_USER whom it is to be run as.
set -eu
demo=$(realpath "$0")
entrar=$(realpath "$1")
hub=$(realpath "$2")
library=$(realpath "$3")
port=${HUB_DEMO_PORT:-8790}

fail() {
  printf '%s\n' "$@" >&2
  exit 1
}

if [ "$(id -u)" = 0 ]; then
  [ -n "${HUB_DEMO_USER:-}" ] || fail \
    'Root gets no tokens of a hub: it serves people. Run this as a user of your own, or name one:' \
    '' \
    '    make hub-demo HUB_DEMO_USER=NAME'
  group=$(id -g "$HUB_DEMO_USER")
  as_user() { setpriv --reuid "$HUB_DEMO_USER" --regid "$group" --init-groups --reset-env "$@"; }
  # What lies in a place of root's own is of no use to anybody else.
  for file in "$demo" "$entrar" "$hub" "$library"; do
    as_user test -r "$file" || fail "$HUB_DEMO_USER cannot read $file: put the clone where everybody can."
  done
  cd /
  exec setpriv --reuid "$HUB_DEMO_USER" --regid "$group" --init-groups --reset-env \
    env HUB_DEMO_PORT="$port" sh "$demo" "$entrar" "$hub" "$library"
fi

user=$(id -un)
case $user in
  '' | *[!a-z0-9_.-]*) fail "The demonstration has no account for a user of the name $user: plain ones have small letters only." ;;
esac

umask 077
tenant_pid='' hub_pid=''
place=$(mktemp -d)
# The hub ends before its tenant, and both before what they have written.
tidy() {
  trap '' INT TERM HUP
  for pid in $hub_pid $tenant_pid; do
    kill "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
  done
  rm -rf "$place"
}
trap tidy EXIT
trap 'exit 0' INT TERM HUP

# until_there PID LOG COMMAND...: waits for what the process does at its start, or for its end.
until_there() {
  pid=$1 log=$2 tries=300
  shift 2
  until "$@" 2>/dev/null; do
    tries=$((tries - 1))
    if [ $tries = 0 ] || ! kill -0 "$pid" 2>/dev/null; then
      fail "$(tail -n 5 "$log")" 'So there is no demonstration. If a port is taken, name the first of three others: HUB_DEMO_PORT=9000.'
    fi
    sleep 0.1
  done
}

"$entrar" emulator --port $((port + 2)) --redirect-uri "http://localhost:$port/callback" --user "$user <$user@example.com>" \
  >"$place/tenant" 2>"$place/tenant-log" &
tenant_pid=$!
until_there $tenant_pid "$place/tenant-log" grep -q 'MSAL and azure-identity' "$place/tenant"
value() { sed -n "s/^  export $1='\(.*\)'$/\1/p" "$place/tenant"; }
secret_app='^ *\([0-9a-f-]*\)  client secret (emulated): \(.*\)$'
sed -n "s/$secret_app/\2/p" "$place/tenant" >"$place/client-secret"

mkdir "$place/run"
"$hub" init "$place" >"$place/log"
cat >"$place/hub.toml" <<SETTINGS
public_url = "http://localhost:$port"
name = "Demonstration"
[tenant]
id = "$(value AZURE_TENANT_ID)"
client_id = "$(sed -n "s/$secret_app/\1/p" "$place/tenant")"
authority = "$(value AZURE_AUTHORITY_HOST)"
secret_file = "client-secret"
[store]
path = "hub.db"
key_file = "hub.key"
[socket]
path = "run/hub.sock"
uids = ["$(id -u)"]
[web]
listen = "127.0.0.1:$port"
[rpc]
listen = "127.0.0.1:$((port + 1))"
[people]
rule = "{user}@example.com"
tenants = ["$(value AZURE_TENANT_ID)"]
SETTINGS
"$hub" --config "$place/hub.toml" serve 2>"$place/log" &
hub_pid=$!
until_there $hub_pid "$place/log" grep -q ' serving ' "$place/log"

cat <<WORDS
A hub is running, with a made-up tenant in the place of Entra ID.

1. Open http://localhost:$port on this machine and sign in as $user@example.com; there is no password.
2. In another terminal of $user's:

   export ENTRAR_HUB_SOCKET=$place/run/hub.sock R_LIBS=$library
   Rscript -e 'library(entrar); azure_account(); getDelegatedAzureToken("https://graph.microsoft.com")'

3. Look at it as its administrator:

   $hub --config $place/hub.toml people
   $hub --config $place/hub.toml audit

Ctrl-C ends it, and everything that it has kept.
WORDS
wait "$hub_pid" || fail 'The hub has ended:' "$(tail -n 5 "$place/log")"
