#!/bin/sh
# A hub on this machine alone, with a made-up tenant: for a newcomer who wants to see it. Nothing is left behind.
#
# usage: hub/demo.sh ENTRAR HUB
#
# ENTRAR and HUB are the programs `entrar` and `entrar-hub`; HUB_DEMO_PORT is the first of two ports (8790 by default).
set -eu
entrar=$1
hub=$2
port=${HUB_DEMO_PORT:-8790}
user=$(id -un)

if [ "$(id -u)" -lt 1000 ]; then
  echo "A hub gives $user (uid $(id -u)) no tokens: it serves people. Run this as a user of your own." >&2
  exit 1
fi

umask 077
place=$(mktemp -d)
# The hub is asked to end, and ends; the tenant after it.
trap 'kill $hub_pid 2>/dev/null || true; wait $hub_pid 2>/dev/null || true; kill $tenant_pid 2>/dev/null || true; rm -rf "$place"' EXIT
trap 'exit 0' INT TERM HUP
tenant_pid='' hub_pid=''

"$entrar" emulator --redirect-uri "http://localhost:$port/callback" --user "$user <$user@example.com>" >"$place/tenant" &
tenant_pid=$!
until grep -q 'MSAL and azure-identity' "$place/tenant"; do
  kill -0 "$tenant_pid" 2>/dev/null || { echo 'The made-up tenant did not start.' >&2; exit 1; }
  sleep 0.1
done
value() { sed -n "s/^  export $1=//p" "$place/tenant" | tr -d "'"; }
app=$(sed -n 's/^ *\([0-9a-f-]*\)  .*client secret (emulated): .*/\1/p' "$place/tenant")
sed -n 's/.*client secret (emulated): //p' "$place/tenant" >"$place/client-secret"

mkdir "$place/run"
"$hub" init "$place" >/dev/null
cat >"$place/hub.toml" <<SETTINGS
public_url = "http://localhost:$port"
name = "Demonstration"
[tenant]
id = "$(value AZURE_TENANT_ID)"
client_id = "$app"
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
until [ -S "$place/run/hub.sock" ]; do
  kill -0 "$hub_pid" 2>/dev/null || { cat "$place/log" >&2; exit 1; }
  sleep 0.1
done

cat <<WORDS
A hub is running, with a made-up tenant in the place of Entra ID.

1. Open http://localhost:$port and sign in as $user@example.com.
2. In another terminal:

   export ENTRAR_HUB_SOCKET=$place/run/hub.sock
   R -e 'entrar::azure_account(); entrar::getDelegatedAzureToken("https://graph.microsoft.com")'

3. Look at it as its administrator:

   $hub --config $place/hub.toml people
   $hub --config $place/hub.toml audit

Ctrl-C ends it, and everything that it has kept.
WORDS
wait "$hub_pid"
