"""Runs a command beside a PostgreSQL server of its own: python postgres.py COMMAND [ARGUMENT]...

The server is Debian's, run by a user that is not root, with its data in a directory that goes away with it. The command finds

  ENTRAR_TEST_POSTGRES     an address by the Unix socket, as a user who may do everything
  ENTRAR_TEST_POSTGRES_TLS a directory: `url`, an address over TCP; `password`, its file; `ca.pem`, who vouches for it
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NOBODY = 65534
SECONDS = 60
SETTINGS = """
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = '{socket}'
max_connections = 200
ssl = on
ssl_cert_file = '{tls}/server.pem'
ssl_key_file = '{tls}/server.key'
logging_collector = off
"""
RULES = """
local all all trust
hostssl all all 127.0.0.1/32 scram-sha-256
"""


def binary(name):
    """Debian keeps them apart, by version."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4]))
    return str(found[-1]) if found else name


def as_nobody(command, **options):
    if os.getuid() == 0:
        # It does not outlive a test that is killed.
        identity = [f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--pdeathsig=QUIT"]
        command = ["setpriv", *identity, *command]
    return command, {"stdin": subprocess.DEVNULL, **options}


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True)


def certificates(directory):
    """A throwaway authority, and a certificate of its for 127.0.0.1 and localhost."""
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
    ca = ["-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign"]
    openssl("req", "-x509", *key, "-keyout", f"{directory}/ca.key", "-out", f"{directory}/ca.pem", "-subj", "/CN=Test CA", *ca)
    openssl("req", *key[:-2], "-keyout", f"{directory}/server.key", "-out", f"{directory}/server.csr", "-subj", "/CN=localhost")
    (directory / "extensions").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n")
    signed = ["-CA", f"{directory}/ca.pem", "-CAkey", f"{directory}/ca.key", "-CAcreateserial", "-days", "2"]
    openssl("x509", "-req", "-in", f"{directory}/server.csr", *signed, "-extfile", f"{directory}/extensions",
            "-out", f"{directory}/server.pem")  # fmt: skip


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Postgres:
    """A server. `url` leads to it by its Unix socket; `tls` is a directory with what one needs by TCP."""

    def __init__(self, directory):
        self.directory = Path(directory)
        self.socket, self.tls, self.data = (self.directory / name for name in ("socket", "tls", "data"))
        for place in (self.socket, self.tls):
            place.mkdir()
        certificates(self.tls)
        for path in (self.directory, self.socket, self.tls, self.tls / "server.key"):
            self.give(path)
        os.chmod(self.tls / "server.key", 0o600)
        command, options = as_nobody([binary("initdb"), "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8"])
        subprocess.run(command, check=True, capture_output=True, **options)
        self.process = None
        # Somebody else may take a port that was free.
        for _ in range(5):
            self.port = free_port()
            (self.data / "postgresql.auto.conf").write_text(SETTINGS.format(port=self.port, socket=self.socket, tls=self.tls))
            (self.data / "pg_hba.conf").write_text(RULES)
            if self.start():
                break
        else:
            raise RuntimeError((self.directory / "log").read_text()[-2000:])
        self.url = f"postgresql://postgres@{str(self.socket).replace('/', '%2F')}:{self.port}/postgres"
        password = secrets.token_hex(16)
        self.sql(f"ALTER ROLE postgres PASSWORD '{password}'")
        (self.tls / "password").write_text(password)
        os.chmod(self.tls / "password", 0o600)
        (self.tls / "url").write_text(f"postgresql://postgres@localhost:{self.port}/postgres")

    @staticmethod
    def give(path):
        if os.getuid() == 0:
            os.chown(path, NOBODY, NOBODY)

    def start(self):
        """Whether it serves."""
        with open(self.directory / "log", "ab") as log:
            command, options = as_nobody([binary("postgres"), "-D", str(self.data)], stdout=log, stderr=log)
            self.process = subprocess.Popen(command, **options)
        end = time.monotonic() + SECONDS
        while self.process.poll() is None and time.monotonic() < end:
            ready = [binary("pg_isready"), "-q", "-h", str(self.socket), "-p", str(self.port)]
            if subprocess.run(ready).returncode == 0:
                return True
            time.sleep(0.05)
        self.stop()
        return False

    def stop(self):
        """Ends it at once, as a power cut does to its connections."""
        if self.process.poll() is None:
            self.process.send_signal(3)
            self.process.wait(SECONDS)

    def signal(self, number):
        """Sends a signal to the server and to what it has started for its connections."""
        pid = self.process.pid
        os.kill(pid, number)
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            # One may have ended meanwhile.
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(child), number)

    def sql(self, text, database="postgres"):
        """What a statement prints."""
        command = [binary("psql"), "-h", str(self.socket), "-p", str(self.port), "-U", "postgres", "-d", database, "-qAtX"]
        done = subprocess.run([*command, "-v", "ON_ERROR_STOP=1", "-c", text], check=True, capture_output=True, text=True)
        return done.stdout


@contextlib.contextmanager
def postgres():
    """A server for as long as the block runs."""
    directory = tempfile.mkdtemp(prefix="pg-")
    os.chmod(directory, 0o755)
    server = None
    try:
        server = Postgres(directory)
        yield server
    finally:
        if server:
            server.stop()
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    with postgres() as server:
        found = {"ENTRAR_TEST_POSTGRES": server.url, "ENTRAR_TEST_POSTGRES_TLS": str(server.tls)}
        sys.exit(subprocess.run(sys.argv[1:], env=os.environ | found).returncode)
