"""The Debian package, on a copy of this machine that is thrown away: what it holds, what its scripts make and take away again,
and a hub that serves from it as its units have it.

Run as root, in namespaces of its own:

    ENTRAR=.lib/entrar/bin/entrar PACKAGE=…/entrar-hub_….deb unshare --mount --net python tests/hub/test_package.py
"""

import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from machine import own_network  # Its paths lead to the next two.
from azure_devops import make_certificates  # isort: skip
from emulator import Emulator
from users import PATH, SECONDS, Started

UNITS = ["entrar-hub.service", "entrar-hub.socket", "entrar-hub-web.socket"]
# Exposure, in tenths, above which the unit is too open for `systemd-analyze security`.
EXPOSURE = 20
CONTENTS = """
-rwxr-xr-x /usr/bin/entrar-hub
-rw-r--r-- /usr/lib/systemd/system/entrar-hub-web.socket
-rw-r--r-- /usr/lib/systemd/system/entrar-hub.service
-rw-r--r-- /usr/lib/systemd/system/entrar-hub.socket
-rw-r--r-- /usr/lib/tmpfiles.d/entrar-hub.conf
-rw-r--r-- /usr/share/doc/entrar-hub/changelog.gz
-rw-r--r-- /usr/share/doc/entrar-hub/copyright
-rw-r--r-- /usr/share/doc/entrar-hub/examples/profile.d/entrar-hub.sh
-rw-r--r-- /usr/share/doc/entrar-hub/examples/slurm/entrar_launcher.py
-rw-r--r-- /usr/share/doc/entrar-hub/examples/slurm/entrar_slurm.py
-rwxr-xr-x /usr/share/doc/entrar-hub/examples/slurm/epilog
-rwxr-xr-x /usr/share/doc/entrar-hub/examples/slurm/prolog
-rwxr-xr-x /usr/share/doc/entrar-hub/examples/slurm/task-prolog
-rw-r--r-- /usr/share/doc/entrar-hub/licences.gz
-rw-r--r-- /usr/share/entrar-hub/entrar_jupyterhub.py
-rw-r--r-- /usr/share/entrar-hub/entrar_launcher.py
-rw-r--r-- /usr/share/man/man8/entrar-hub.8.gz
"""
ENVIRONMENT = {"PATH": f"{PATH}:/usr/sbin:/sbin", "LC_ALL": "C.UTF-8"}
# What systemd does for the units: the sockets are root's, the hub is its user's.
SERVICE_MANAGER = """
import os, socket, sys
os.umask(0)
listeners = []
for address in sys.argv[1:]:
    if address.startswith("/"):
        os.makedirs(os.path.dirname(address), 0o755, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address)
        listener.listen()
    else:
        host, port = address.rsplit(":", 1)
        listener = socket.create_server((host, int(port)))
    listeners.append(os.dup(listener.fileno()))
    listener.close()
for number, descriptor in enumerate(listeners, 3):
    os.dup2(descriptor, number, inheritable=True)
environment = {"LISTEN_FDS": str(len(listeners)), "LISTEN_PID": str(os.getpid()), "PATH": os.environ["PATH"]}
user = ["--reuid=entrar-hub", "--regid=entrar-hub", "--clear-groups", "--no-new-privs"]
os.execvpe("setpriv", ["setpriv", *user, "/usr/bin/entrar-hub", "serve"], environment)
"""


def run(*command, **options):
    ran = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False, **options)
    assert ran.returncode == 0, f"{command}: {ran.stdout}{ran.stderr}"
    return ran.stdout


class Package(unittest.TestCase):
    """The tests run in the order of their names, on one copy of the machine."""

    @classmethod
    def setUpClass(cls):
        own_network()
        scratch = Path(cls.enterClassContext(tempfile.TemporaryDirectory(prefix="package-")))
        run("mount", "-t", "tmpfs", "tmpfs", scratch)
        cls.addClassCleanup(run, "umount", "--recursive", scratch)
        cls.root = scratch / "root"
        for name in ("upper", "work", "root"):
            (scratch / name).mkdir(mode=0o755)
        layers = f"lowerdir=/,upperdir={scratch}/upper,workdir={scratch}/work"
        run("mount", "-t", "overlay", "overlay", "-o", layers, cls.root)
        # A copy, for others may be adding users to this machine meanwhile, whose locks come and go.
        subprocess.run(["cp", "-a", "/etc", scratch], capture_output=True, check=False, timeout=SECONDS)
        for lock in (scratch / "etc").glob("*.lock"):
            lock.unlink()
        run("mount", "--bind", scratch / "etc", cls.root / "etc")
        run("mount", "-t", "proc", "proc", cls.root / "proc")
        run("mount", "--rbind", "/dev", cls.root / "dev")
        run("mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", cls.root / "run")
        cls.package = Path(os.environ["PACKAGE"])
        shutil.copy(cls.package, cls.root / "run/entrar-hub.deb")
        cls.tenant = cls.enterClassContext(Emulator(os.environ["ENTRAR"], "--redirect-uri", "https://localhost/callback"))

    def inside(self, *command):
        return run(*self._command(*command), env=ENVIRONMENT)

    def _command(self, *command):
        return ["chroot", self.root, *command]

    def as_the_hub(self, *command):
        return self.inside("setpriv", "--reuid=entrar-hub", "--regid=entrar-hub", "--clear-groups", *command)

    def tried(self, *command):
        """What a command prints that may fail."""
        ran = subprocess.run(self._command(*command), env=ENVIRONMENT, capture_output=True, text=True, timeout=SECONDS, check=False)
        return ran.stdout

    def enabled(self):
        return self.tried("systemctl", "is-enabled", *UNITS).split()

    def assert_modes(self, expected):
        paths = [line.split()[-1] for line in expected]
        self.assertEqual(self.inside("stat", "--format=%A %U:%G %n", *paths).splitlines(), expected)

    def test_1_what_it_holds(self):
        lines = [line.split() for line in run("dpkg-deb", "--contents", self.package).splitlines()]
        self.assertEqual({line[1] for line in lines}, {"root/root"})
        self.assertEqual({line[0] for line in lines if line[0].startswith("d")}, {"drwxr-xr-x"})
        files = [f"{line[0]} {line[5].removeprefix('.')}" for line in lines if not line[0].startswith("d")]
        self.assertEqual(files, CONTENTS.split("\n")[1:-1])

    def test_2_what_its_scripts_make(self):
        said = self.inside("dpkg", "--install", "/run/entrar-hub.deb")
        self.assertIn("sudo systemctl enable --now entrar-hub", said)
        self.assert_modes(
            [
                "drwxr-x--- entrar-hub:entrar-hub /etc/entrar-hub",
                "-rw------- entrar-hub:entrar-hub /etc/entrar-hub/hub.key",
                "-rw-r----- entrar-hub:entrar-hub /etc/entrar-hub/hub.toml",
                "drwx------ entrar-hub:entrar-hub /var/lib/entrar-hub",
                "drwxr-xr-x root:root /run/entrar",
            ]
        )
        _, _, uid, _, _, home, shell = self.inside("getent", "passwd", "entrar-hub").strip().split(":")
        self.assertLess(int(uid), 1000)
        self.assertEqual((home, shell), ("/var/lib/entrar-hub", "/usr/sbin/nologin"))
        # Nothing runs before the settings are filled in.
        self.assertEqual(self.enabled(), ["disabled", "disabled", "disabled"])

    def test_3_its_units(self):
        self.assertEqual(self.inside("systemd-analyze", "--man=no", "verify", *UNITS), "")
        rated = self.inside("systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", UNITS[0])
        print(rated.strip().splitlines()[-1])
        self.inside("systemctl", "enable", UNITS[0])
        self.assertEqual(self.enabled(), ["enabled", "enabled", "enabled"])

    def test_4_a_second_time_it_leaves_everything_as_it_is(self):
        settings, key = (self.root / "etc/entrar-hub" / name for name in ("hub.toml", "hub.key"))
        directory = self.root / "etc/entrar-hub"
        with tempfile.TemporaryDirectory() as scratch:
            authority, certificate, tls_key = make_certificates(Path(scratch), "DNS:localhost")
            text = settings.read_text()
            for pattern, value in {
                r'^public_url = .*': 'public_url = "https://localhost"',
                r'^id = .*': f'id = "{self.tenant.tenant_id}"',
                r'^client_id = .*': f'client_id = "{self.tenant.secret_app}"\nauthority = "{self.tenant.url}"',
                r'^certificate_file = "app.pem".*': 'secret_file = "client-secret"',
                r'^tenants = .*': f'tenants = ["{self.tenant.tenant_id}"]',
            }.items():
                text, count = re.subn(pattern, value, text, flags=re.MULTILINE)
                self.assertEqual(count, 1, pattern)
            settings.write_text(text)
            shutil.copy(authority, self.root / "run/ca.pem")
            (directory / "hub.crt").write_text(Path(certificate).read_text())
            (directory / "tls.key").write_text(Path(tls_key).read_text())
        (directory / "client-secret").write_text(self.tenant.secret)
        for name in ("tls.key", "client-secret"):
            (directory / name).chmod(0o640)
        self.inside("chown", "-R", "root:entrar-hub", "/etc/entrar-hub/tls.key", "/etc/entrar-hub/client-secret")
        before = (settings.read_text(), key.read_bytes())
        self.inside("dpkg", "--install", "/run/entrar-hub.deb")
        self.assertEqual((settings.read_text(), key.read_bytes()), before)

    def test_5a_every_setting_is_good_before_it_serves(self):
        self.assertNotIn("PROBLEM", self.as_the_hub("entrar-hub", "check"))

    def test_5b_a_hub_serves_from_it(self):
        texts = [(self.root / "usr/lib/systemd/system" / unit).read_text() for unit in UNITS[1:]]
        addresses = re.findall(r"^ListenStream=(.+)$", "\n".join(texts), re.MULTILINE)
        self.assertEqual(addresses, ["/run/entrar/hub.sock", "127.0.0.1:8788", "0.0.0.0:443"])
        manager = ["/usr/bin/python3", "-c", SERVICE_MANAGER, *addresses]
        with Started(self._command(*manager), env=ENVIRONMENT) as hub:
            hub.until(" serving ")
            self.assertEqual(self.inside("stat", "--format=%U %a", "/run/entrar/hub.sock"), "root 777\n")
            # A client of somebody's takes this socket for the hub's, and gets the address beside it.
            shutil.copy(os.environ["ENTRAR"], self.root / "run/entrar-client")
            self.inside("useradd", "--no-create-home", "ada-of-the-package")
            self.inside("install", "-d", "-m", "700", "-o", "ada-of-the-package", "/run/ada")
            ada = ["setpriv", "--reuid=ada-of-the-package", "--regid=65534", "--clear-groups"]
            session = self.inside(*ada, "env", "ENTRAR_RUNTIME_DIR=/run/ada", "/run/entrar-client", "env")
            self.assertIn("RS_SERVER_ADDRESS='http://127.0.0.1:8788'", session)
            page = self.inside("curl", "--silent", "--cacert", "/run/ca.pem", "--max-time", "60", "https://localhost/")
            self.assertIn("<title>", page)
            hub.process.terminate()
            said, code = hub.end()
        self.assertEqual(code, 0, said)

    def test_6_removed_it_leaves_settings_and_database(self):
        self.inside("dpkg", "--remove", "entrar-hub")
        self.assert_modes(
            [
                "-rw------- entrar-hub:entrar-hub /etc/entrar-hub/hub.key",
                "-rw------- entrar-hub:entrar-hub /var/lib/entrar-hub/hub.db",
            ]
        )

    def test_7_purged_it_leaves_nothing(self):
        self.inside("dpkg", "--purge", "entrar-hub")
        named = self.inside("find", "/etc", "/run", "/usr", "/var", "-name", "*entrar-hub*").split()
        # Pages that were read are man's own.
        left = [path for path in named if not path.startswith("/var/cache/")]
        self.assertEqual(left, ["/run/entrar-hub.deb"])
        for base in ("passwd", "group"):
            self.assertEqual(self.tried("getent", base, "entrar-hub"), "")


if __name__ == "__main__":
    unittest.main()
