"""A machine with a hub on it: the emulated tenant, `entrar-hub serve`, and local users, who are removed at the end.

Everything that the users' processes need is copied to where they can read it: a checkout may lie in somebody's home.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

SIGN_IN = Path(__file__).resolve().parents[1] / "sign-in"
sys.path.insert(0, str(SIGN_IN))

from emulator import Emulator  # noqa: E402
from process import end  # noqa: E402

BUILD = Path(__file__).resolve().parents[2] / ".build"
SECONDS = 120
# posit-sdk and what it stands on, all of it plain Python.
PYTHON_PACKAGES = ["posit", "requests", "urllib3", "certifi", "idna", "charset_normalizer", "packaging", "typing_extensions.py"]


class User:
    """A local user, as long as the `with` lasts."""

    def __init__(self, name):
        # Other runs of the suite may go on beside this one.
        self.name = f"{name}-{os.getpid()}"
        self.upn = f"{self.name}@example.com"

    def __enter__(self):
        subprocess.run(["useradd", "--no-user-group", "--create-home", self.name], check=True, timeout=SECONDS)
        self.uid = int(subprocess.run(["id", "-u", self.name], check=True, capture_output=True, text=True).stdout)
        self.home = f"/home/{self.name}"
        return self

    def __exit__(self, *_):
        subprocess.run(["userdel", "--remove", self.name], check=False, capture_output=True, timeout=SECONDS)

    def run(self, command, variables, **options):
        """A process of this user's, with these variables and no others."""
        own = {"HOME": self.home, "USER": self.name, "PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
        as_user = ["setpriv", f"--reuid={self.uid}", "--regid=65534", "--clear-groups", *command]
        return subprocess.run(
            as_user, env=own | variables, cwd=self.home, capture_output=True, text=True, timeout=SECONDS, check=False, **options
        )


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Machine:
    """To be used in `with`. `hub` is the program, `library` where the R package is installed."""

    def __init__(self, program, hub, library, *users):
        self.page_port, self.rpc_port = free_port(), free_port()
        self.page = f"https://localhost:{self.page_port}"
        people = [option for user in users for option in ("--user", f"{user.name} <{user.upn}>")]
        self.tenant = Emulator(program, "--redirect-uri", f"{self.page}/callback", *people)
        self.program, self.hub, self.library = program, hub, library

    def __enter__(self):
        self.directory = Path(tempfile.mkdtemp(prefix="hub-"))
        self.directory.chmod(0o755)
        for name, mode in (("run", 0o755), ("lib", 0o700), ("R", 0o755), ("python", 0o755)):
            (self.directory / name).mkdir()
            (self.directory / name).chmod(mode)
        self.socket = self.directory / "run/hub.sock"
        shutil.copytree(Path(self.library) / "entrar", self.directory / "R/entrar")
        self.entrar = self.directory / "R/entrar/bin/entrar"
        site = next((BUILD / "venv/lib").glob("python3*/site-packages"))
        for package in PYTHON_PACKAGES:
            copy = shutil.copytree if (site / package).is_dir() else shutil.copy
            copy(site / package, self.directory / "python" / package)
        subprocess.run(["chmod", "-R", "a+rX", self.directory / "R", self.directory / "python"], check=True)
        self.tenant.__enter__()
        try:
            self._settings()
            self._serve()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _settings(self):
        at = self.directory.joinpath
        subprocess.run([self.hub, "init", self.directory], check=True, capture_output=True, timeout=SECONDS)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
            + ["-addext", "subjectAltName=DNS:localhost", "-keyout", at("tls.key"), "-out", at("tls.crt")],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        at("client-secret").write_text(self.tenant.secret)
        at("client-secret").chmod(0o600)
        at("hub.toml").write_text(f"""
public_url = "{self.page}"
name = "Example"
[tenant]
id = "{self.tenant.tenant_id}"
client_id = "{self.tenant.secret_app}"
authority = "{self.tenant.url}"
secret_file = "client-secret"
[store]
path = "lib/hub.db"
key_file = "hub.key"
[socket]
path = "run/hub.sock"
uids = ["1000-59999"]
[web]
listen = "127.0.0.1:{self.page_port}"
certificate_file = "tls.crt"
key_file = "tls.key"
[rpc]
listen = "127.0.0.1:{self.rpc_port}"
[people]
rule = "{{user}}@example.com"
tenants = ["{self.tenant.tenant_id}"]
""")

    def _serve(self):
        self.log = (self.directory / "log").open("w+")
        self.process = subprocess.Popen(
            [self.hub, "--config", self.directory / "hub.toml", "serve"], env={}, stderr=self.log, stdin=subprocess.DEVNULL
        )
        begun = time.monotonic()
        while True:
            with socket.socket() as client:
                if client.connect_ex(("127.0.0.1", self.page_port)) == 0:
                    return
            if self.process.poll() is not None or time.monotonic() - begun > SECONDS:
                self.log.seek(0)
                raise AssertionError(f"the hub does not serve: {self.log.read()}")
            time.sleep(0.01)

    def command(self, *arguments):
        """What an administrator's command prints."""
        command = [self.hub, "--config", self.directory / "hub.toml", *arguments]
        ran = subprocess.run(command, env={}, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def rows(self, *arguments):
        return [json.loads(line) for line in self.command(*arguments, "--json").splitlines()]

    def variables(self):
        """What a user's processes find the hub by."""
        return {"ENTRAR_HUB_SOCKET": str(self.socket), "R_LIBS": str(self.directory / "R")}

    def __exit__(self, *_):
        try:
            if hasattr(self, "process") and self.process.poll() is None:
                end(self.process)
        finally:
            self.tenant.__exit__(None, None, None)
            shutil.rmtree(self.directory, ignore_errors=True)
