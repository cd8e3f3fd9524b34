# For /etc/profile.d on a machine with a hub: opens a session for login shells, so that clients which know an address and a
# cookie only, such as Python's posit-sdk and rstudioapi, have tokens in them. R with entrar and its git helper need none of it.
# Where there is nothing to open it does nothing, and says nothing; the hub's answer is waited for no longer than five seconds.

if [ -z "${RS_SERVER_ADDRESS:-}" ] && # Workbench has set one, or a shell above this one has it already
  [ -n "${XDG_RUNTIME_DIR:-}${ENTRAR_RUNTIME_DIR:-}" ] && # elsewhere the cookie might come to a disk
  [ -S "${ENTRAR_HUB_SOCKET:-/run/entrar/hub.sock}" ] &&
  [ "$(id -u)" != 0 ] && # root is nobody's account
  command -v entrar >/dev/null 2>&1; then
  eval "$(timeout 5 entrar env --shell sh 2>/dev/null </dev/null)"
fi
