"""`entrar emulator` as a process, with what it prints for its clients."""

import re
import shlex
import subprocess
import sys
import threading
from pathlib import Path

from process import end

SECONDS = 60


class Emulator:
    """A tenant. To be used in `with`."""

    LAST_LINE = "MSAL and azure-identity want https"

    def __init__(self, program, *options):
        self.process = subprocess.Popen([program, "emulator", *options], stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        # A start that never ends is ended here, and reading what it printed with it.
        watchdog = threading.Timer(SECONDS, self.process.kill)
        watchdog.start()
        try:
            text = self._introduction()
        finally:
            watchdog.cancel()
        self._read(text, dict(shlex.split(line)[1].split("=", 1) for line in text if line.startswith("  export ")))
        return self

    def _read(self, text, variables):
        self.url = variables["AZURE_AUTHORITY_HOST"]
        self.tenant_id = variables["AZURE_TENANT_ID"]
        self.public_app = self._app(text, "public client")
        by_secret = next(line for line in text if "client secret (emulated): " in line)
        self.secret_app, self.secret = by_secret.split()[0], by_secret.split()[-1]

    def _introduction(self):
        lines = []
        for line in self.process.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith(self.LAST_LINE):
                return lines
        sys.exit(f"The emulator did not start: {lines}")

    @staticmethod
    def _app(text, proof):
        return next(line.split()[0] for line in text if line.endswith(f"  {proof}"))

    def __exit__(self, *_):
        try:
            end(self.process)
        finally:
            self.process.stdout.close()


class HttpsEmulator(Emulator):
    """A tenant over https, with an app that proves itself by a certificate. To be used in `with`."""

    LAST_LINE = "Where that certificate is trusted"

    def __init__(self, program, directory, *options):
        self.directory = Path(directory)
        self.certificate = self.directory / "app.pem"
        key = self.directory / "key.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=entrar test app"]
            + ["-keyout", key, "-out", self.certificate],
            check=True,
            stderr=subprocess.DEVNULL,
        )
        self.private_key = key.read_text()
        self.public_certificate = self.certificate.read_text()
        # azure-identity reads both from one file.
        self.both = self.directory / "both.pem"
        self.both.write_text(self.private_key + self.public_certificate)
        super().__init__(program, "--https", self.directory, "--certificate", self.certificate, *options)

    def _read(self, text, variables):
        super()._read(text, variables)
        self.ca_file = variables["REQUESTS_CA_BUNDLE"]
        self.secret_app, self.secret = re.match(
            r"  (\S+)  client secret \(emulated\): (\S+)", next(line for line in text if "client secret" in line)
        ).groups()
        self.certificate_app = self._app(text, "your certificate")

    def __exit__(self, *error):
        super().__exit__(*error)
        assert not Path(self.ca_file).exists()
