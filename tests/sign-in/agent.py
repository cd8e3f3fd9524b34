"""`entrar agent run` as a process, asked through its socket as our own clients ask it."""

import http.client
import json
import os
import socket
import subprocess
import time
from pathlib import Path

from process import end

SECONDS = 60
# No test's agent takes what the machine happens to have set.
OUTSIDE = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "XDG_RUNTIME_DIR")


class Refused(Exception):
    """What the agent says of a failure."""

    def __init__(self, kind, message, details):
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        self.message = message
        self.details = details


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path):
        super().__init__("localhost", timeout=SECONDS)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Agent:
    """An agent with a directory of its own. To be used in `with`."""

    def __init__(self, program, directory, **variables):
        self.program = program
        self.directory = Path(directory)
        self.directory.mkdir(mode=0o700)
        inherited = {name: value for name, value in os.environ.items() if name not in OUTSIDE}
        self.variables = inherited | variables | {"ENTRAR_RUNTIME_DIR": str(self.directory)}
        self.process = None

    def __enter__(self):
        self.process = subprocess.Popen([self.program, "agent", "run"], env=self.variables, stdin=subprocess.DEVNULL)
        try:
            self._wait_until_it_listens()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise
        return self

    def _wait_until_it_listens(self):
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                self.ask("status")
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def __exit__(self, *_):
        # It may have ended by a sign-out.
        end(self.process)

    def _post(self, path, body):
        connection = Connection(self.directory / "agent.sock")
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            reply = connection.getresponse()
            text = reply.read()
            assert reply.status == 200, reply.status
            return json.loads(text)
        finally:
            connection.close()

    def ask(self, name, **parameters):
        """The result of one of the requests that `entrar_core::agent` has."""
        reply = self._post(f"/agent/{name}", parameters)
        if "failure" in reply:
            raise Refused(**reply["failure"])
        return reply["result"]

    def begin(self, authority, tenant, client_id, method="browser", login_hint=None):
        return self.ask(
            "begin",
            authority=authority,
            tenant=tenant,
            client_id=client_id,
            credential="public",
            method=method,
            login_hint=login_hint,
            select_account=False,
        )

    def wait(self, attempt):
        """Until the attempt has ended; the account."""
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            progress = self.ask("wait", id=attempt["id"], seconds=5)
            if progress["state"] != "waiting":
                assert progress["state"] == "signed_in", progress["state"]
                return progress["account"]
        raise TimeoutError("The sign-in has not ended.")

    def token(self, resource):
        """A reply of the session RPC, as its clients get it."""
        return self._post("/delegated_azure_token", {"method": "delegated_azure_token", "params": [resource]})

    def session_variables(self, *options):
        """The variables that `entrar env` sets, as a shell has them then."""
        commands = subprocess.run(
            [self.program, "env", "--shell", "sh", *options],
            env=self.variables,
            check=True,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        ).stdout
        shown = subprocess.run(
            ["sh", "-c", f"{commands}\nenv -0"], env=self.variables, check=True, capture_output=True, text=True, timeout=SECONDS
        ).stdout
        return dict(line.split("=", 1) for line in shown.split("\0") if line)
