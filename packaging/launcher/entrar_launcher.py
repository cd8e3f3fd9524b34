"""What a launcher does, a program of root's that starts people's sessions: it opens a session of entrar-hub for a user, puts its
cookie where that user alone can read it, and ends it. Only Python's own library is needed.
"""

import contextlib
import http.client
import json
import os
import pwd
import re
import socket
import ssl
import subprocess
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

# A name of a session's files, and no path that leads elsewhere.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~%@+-]*")


class Refused(Exception):
    """The hub opens no session. Its text says why, and what to do."""


def _remove(directory):
    """Takes away what a user may have filled: however deep that is, no link is followed, and it does not take for ever."""
    command = ["rm", "-rf", "--one-file-system", "--", str(directory)]
    with contextlib.suppress(subprocess.SubprocessError):
        subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=30, check=False)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Launcher:
    """`hub` is the path of the hub's socket on this machine, or its page's address for a key that counts from a network;
    `key_file` holds the key that `entrar-hub launcher add` has printed; `directory` is one of root's on a tmpfs.

    Of the session NAME, `directory/NAME` belongs to the user and holds `rpc_cookie`, and `directory/NAME.session` is root's.
    """

    def __init__(self, key_file, hub="/run/entrar/hub.sock", directory="/run/entrar-sessions", timeout=10):
        self.hub, self.key_file, self.directory, self.timeout = hub, Path(key_file), Path(directory), timeout

    def open(self, user, name, machine):
        """Opens a session for the local user. `machine` is for show. One of the same name ends as soon as the new one is there.

        Returns the variables of the user's processes, and when the session expires in Unix seconds. Raises Refused, or OSError.
        """
        assert NAME.fullmatch(name), name
        before = self._read(name)
        session = self._ask("/launcher/sessions", {"user": user, "machine": machine})
        person = pwd.getpwnam(user)
        self.directory.mkdir(mode=0o711, parents=True, exist_ok=True)
        self._put(self._record(name), json.dumps({"user": user, "session": session["id"]}), os.geteuid(), os.getegid())
        own = self.directory / name
        # Root alone writes in the directory above: nobody can put a link there. One that somebody else had is not reused.
        if own.exists() and own.stat().st_uid != person.pw_uid:
            _remove(own)
        if not own.exists():
            own.mkdir(mode=0o700)
            os.chown(own, person.pw_uid, person.pw_gid)
        self._put(own / "rpc_cookie", session["cookie"], person.pw_uid, person.pw_gid)
        if before is not None:
            # At the latest it expires.
            with contextlib.suppress(Refused, OSError):
                self._ask("/launcher/sessions/end", before)
        return session["environment"] | {"PWB_SESSION_RUNTIME_DIR": str(own)}, session["expires_at"]

    def end(self, name):
        """Ends the session of this name, if there is one, and takes its files away. Raises Refused, or OSError."""
        assert NAME.fullmatch(name), name
        record = self._read(name)
        try:
            if record is not None:
                self._ask("/launcher/sessions/end", record)
                self._record(name).unlink()
        finally:
            _remove(self.directory / name)

    def _record(self, name):
        return self.directory / f"{name}.session"

    def _read(self, name):
        try:
            return json.loads(self._record(name).read_text())
        except FileNotFoundError:
            return None

    def _put(self, path, text, uid, gid):
        """Replaces a file in one step, without a moment in which somebody else reads it; a link in its place is not followed."""
        descriptor, new = tempfile.mkstemp(dir=self.directory, prefix=".new-")
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(text)
            os.fchown(file.fileno(), uid, gid)
        os.replace(new, path)

    def _ask(self, path, body):
        headers = {"Authorization": f"Bearer {self.key_file.read_text().strip()}", "Content-Type": "application/json"}
        if self.hub.startswith("/"):
            connection = _UnixConnection(self.hub, self.timeout)
        else:
            host = urlsplit(self.hub).netloc
            connection = http.client.HTTPSConnection(host, timeout=self.timeout, context=ssl.create_default_context())
        with contextlib.closing(connection):
            connection.request("POST", path, json.dumps(body), headers)
            answer = connection.getresponse()
            try:
                reply = json.loads(answer.read(1 << 20))
            except (ValueError, http.client.HTTPException):
                raise Refused(f"the hub gives no answer that is understood, and status {answer.status}") from None
        if "result" not in reply:
            failure = reply.get("failure") or {}
            raise Refused(f"{failure.get('message', 'the hub gives no reason')}. {failure.get('remedy') or ''}".strip())
        return reply["result"]
