"""A machine with a hub on it: the emulated tenant, and `entrar-hub serve` as a system user, with its ports held open as a
service manager does.

Everything that people's processes need is copied to where they can read it: a checkout may lie in somebody's home.
"""

import base64
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from users import SECONDS, Started, SystemUser, as_user

TESTS = Path(__file__).resolve().parents[1]
BUILD = TESTS.parent / ".build"
sys.path[:0] = [str(TESTS / "sign-in"), str(TESTS / "git")]

from azure_devops import make_certificates  # noqa: E402
from emulator import Emulator  # noqa: E402

# posit-sdk and what it stands on, all of it plain Python.
PYTHON_PACKAGES = ["posit", "requests", "urllib3", "certifi", "idna", "charset_normalizer", "packaging", "typing_extensions.py"]
# The ports come in as the descriptors 3 and 4, as systemd hands them over.
WITH_SOCKETS = 'exec 3<&"$1"- 4<&"$2"-; shift 2; LISTEN_FDS=2 LISTEN_PID=$$ exec "$@"'
BY_RULE = """
[people]
rule = "{{user}}@example.com"
tenants = ["{tenant}"]
"""
BY_CODE = """
[people]
pairing = true
"""


def own_network():
    """Asks for a network of this process's own (`unshare --net`), where every port is free, and turns its loopback on."""
    outer = f"/proc/{os.getppid()}/ns/net"
    assert os.readlink("/proc/self/ns/net") != os.readlink(outer), "run this by unshare --net"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        up, set_flags = 1, 0x8914
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sH14x", b"lo", up))


def held_port():
    """A listener at a port of this machine, whose descriptor is none that a shell has a name for."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    held = socket.socket(fileno=fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD, 10))
    listener.close()
    return held


def fingerprint(certificate):
    """The SHA-256 of its public key, by which Chromium takes it."""
    key = subprocess.run(["openssl", "x509", "-in", certificate, "-pubkey", "-noout"], check=True, capture_output=True)
    form = ["openssl", "pkey", "-pubin", "-outform", "der"]
    der = subprocess.run(form, input=key.stdout, check=True, capture_output=True).stdout
    return base64.b64encode(hashlib.sha256(der).digest()).decode()


class Machine:
    """To be used in `with`. `entrar` and `hub` are programs, `library` is where the R package is installed.

    `store` says where the database is, `more` are other settings, and so is `of_tenant`; `tenant` are options of the emulated one.
    Browsers come to `page` where something else leads them on to the hub. A second hub `beside` a first has its tenant, its page
    and its key.
    """

    def __init__(self, entrar, hub, library, users, people=BY_RULE, store='path = "../lib/hub.db"', more="", **others):
        self.entrar, self.sources, self.users, self.people = entrar, (hub, library), users, people
        self.store, self.more, self.of_tenant = store, more, others.pop("of_tenant", "")
        self.page, self.options, self.beside = (others.pop(name, None) for name in ("page", "tenant", "beside"))
        assert not others, others

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            enter = stack.enter_context
            self.ports = [enter(held_port()), enter(held_port())]
            page, rpc = (port.getsockname()[1] for port in self.ports)
            self.listen, self.rpc = f"127.0.0.1:{page}", f"127.0.0.1:{rpc}"
            self.page = self.page or f"https://localhost:{page}"
            self.directory = Path(enter(tempfile.TemporaryDirectory(prefix="hub-")))
            if self.beside:
                self.user, self.tenant, self.page = self.beside.user, self.beside.tenant, self.beside.page
            else:
                self.user = enter(SystemUser("hub"))
                named = [option for user in self.users for option in ("--user", f"{user.name} <{user.upn}>")]
                options = ["--redirect-uri", f"{self.page}/callback", *named, *(self.options or [])]
                self.tenant = enter(Emulator(self.entrar, *options))
            self._install(*self.sources)
            self._configure()
            self.start()
            stack.callback(self.stop)
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *_):
        self.stack.close()

    def _install(self, hub, library):
        at = self.directory.joinpath
        shutil.copy(hub, at("entrar-hub"))
        shutil.copytree(Path(library) / "entrar", at("R/entrar"))
        site = next((BUILD / "venv/lib").glob("python3*/site-packages"))
        at("python").mkdir()
        for package in PYTHON_PACKAGES:
            copy = shutil.copytree if (site / package).is_dir() else shutil.copy
            copy(site / package, at("python") / package)
        subprocess.run(["chmod", "-R", "u=rwX,go=rX", self.directory], check=True, timeout=SECONDS)
        self.programs = at("R/entrar/bin")

    def _configure(self):
        at = self.directory.joinpath
        for name, mode in (("etc", 0o750), ("lib", 0o700), ("run", 0o755)):
            at(name).mkdir()
            at(name).chmod(mode)
        self.socket = at("run/hub.sock")
        self._give("etc", "lib", "run")
        if self.beside:
            self.ca, self.fingerprint = self.beside.ca, self.beside.fingerprint
            for name in ("hub.key", "tls.crt", "tls.key"):
                shutil.copy(self.beside.directory / "etc" / name, at("etc", name))
            self._give("etc/hub.key")
        else:
            self._make_secrets()
        at("etc/client-secret").write_text(self.tenant.secret)
        at("etc/hub.toml").write_text(f"""
public_url = "{self.page}"
name = "Example"
[tenant]
id = "{self.tenant.tenant_id}"
client_id = "{self.tenant.secret_app}"
authority = "{self.tenant.url}"
secret_file = "client-secret"
{self.of_tenant}
[store]
{self.store}
key_file = "hub.key"
[socket]
path = "{self.socket}"
uids = ["1000-59999"]
[web]
listen = "{self.listen}"
certificate_file = "tls.crt"
key_file = "tls.key"
[rpc]
listen = "{self.rpc}"
{self.people.format(tenant=self.tenant.tenant_id)}
{self.more}""")
        for name in ("tls.key", "client-secret", "hub.toml"):
            at("etc", name).chmod(0o600)
        self._give("etc/tls.crt", "etc/tls.key", "etc/client-secret", "etc/hub.toml")

    def _make_secrets(self):
        at = self.directory.joinpath
        at("tls").mkdir()
        at("tls").chmod(0o755)
        self.ca, certificate, key = make_certificates(at("tls"), "DNS:localhost")
        self.fingerprint = fingerprint(certificate)
        Path(self.ca).chmod(0o644)
        self.hub("init", at("etc"))
        shutil.copy(certificate, at("etc/tls.crt"))
        shutil.copy(key, at("etc/tls.key"))

    def _give(self, *names):
        """These are the hub's."""
        for name in names:
            shutil.chown(self.directory / name, self.user.uid, "nogroup")

    def _command(self, *words):
        return as_user(self.user.uid, [self.directory / "entrar-hub", "--config", self.directory / "etc/hub.toml", *words])

    def hub(self, *words):
        """What a command of the hub's own user prints."""
        ran = subprocess.run(
            self._command(*words), env={}, capture_output=True, text=True, timeout=SECONDS, check=False, cwd=self.directory
        )
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    def rows(self, *words):
        return [json.loads(line) for line in self.hub(*words, "--json").splitlines()]

    def start(self):
        """Starts the hub, and waits until it says that it serves."""
        descriptors = [port.fileno() for port in self.ports]
        command = ["bash", "-c", WITH_SOCKETS, "bash", *map(str, descriptors), *self._command("serve")]
        self.process = Started(command, env={}, pass_fds=descriptors, cwd=self.directory)
        try:
            self.process.until(" serving ")
        except BaseException:
            self.process.__exit__()
            raise

    def stop(self):
        """Ends it, cleanly; what it has logged."""
        with self.process as started:
            started.process.terminate()
            said, code = started.end()
        assert code == 0, said
        return said

    def variables(self):
        """What people's processes find the hub by."""
        return {"ENTRAR_HUB_SOCKET": str(self.socket), "R_LIBS": str(self.directory / "R")}
