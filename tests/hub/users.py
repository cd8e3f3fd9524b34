"""Users of this machine: people, and the one that a hub runs as. They are removed at the end."""

import os
import signal
import subprocess
import threading

SECONDS = 120
PATH = "/usr/local/bin:/usr/bin:/bin"


def as_user(uid, command):
    """The command's words as this uid, and nobody's groups."""
    return ["setpriv", f"--reuid={uid}", "--regid=65534", "--clear-groups", *command]


class Account:
    """A line of the system's list of users, as long as the `with` lasts."""

    def __init__(self, name, *options):
        # Other runs of the suite may go on beside this one.
        self.name = f"{name}-{os.getpid()}"
        self.options = options

    def __enter__(self):
        command = ["useradd", "--no-user-group", *self.options, self.name]
        subprocess.run(command, check=True, capture_output=True, timeout=SECONDS)
        self.uid = int(subprocess.run(["id", "-u", self.name], check=True, capture_output=True, text=True).stdout)
        self.home = f"/home/{self.name}"
        return self

    def __exit__(self, *_):
        subprocess.run(["userdel", "--remove", self.name], check=False, capture_output=True, timeout=SECONDS)


class SystemUser(Account):
    """Nobody logs in as one: R and git take a hub's socket of no other but root."""

    def __init__(self, name):
        super().__init__(name, "--system", "--no-create-home")


class User(Account):
    """Somebody who logs in here."""

    def __init__(self, name):
        super().__init__(name, "--create-home")
        self.upn = f"{self.name}@example.com"

    def __enter__(self):
        super().__enter__()
        # As at a login: what lies there goes with the home.
        self.runtime = f"{self.home}/runtime"
        os.mkdir(self.runtime, 0o700)
        os.chown(self.runtime, self.uid, -1)
        return self

    def variables(self, variables):
        own = {"HOME": self.home, "USER": self.name, "XDG_RUNTIME_DIR": self.runtime}
        return own | {"PATH": PATH, "LC_ALL": "C.UTF-8", "TMPDIR": "/tmp"} | variables

    def run(self, command, variables, **options):
        """A process of this user's, with these variables and no others of this one."""
        return subprocess.run(
            as_user(self.uid, command),
            env=self.variables(variables),
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
            **options,
        )

    def start(self, command, variables, **options):
        """The same while something else happens. To be used in `with`."""
        return Started(as_user(self.uid, command), env=self.variables(variables), cwd=self.home, **options)


class Started:
    """A process that goes on, whose both streams are read as one. To be used in `with`."""

    def __init__(self, command, **options):
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **options,
        )
        self.said, self.is_over, self.news = "", False, threading.Condition()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            with self.news:
                self.said += line
                self.news.notify_all()
        with self.news:
            self.is_over = True
            self.news.notify_all()

    def __enter__(self):
        return self

    def until(self, text):
        """What it has said as soon as this text is in it."""
        with self.news:
            self.news.wait_for(lambda: text in self.said or self.is_over, SECONDS)
            assert text in self.said, f"{text!r} was not said: {self.said}"
            return self.said

    def end(self):
        """All that it has said by its end, and its exit code."""
        code = self.process.wait(SECONDS)
        self.reader.join(SECONDS)
        return self.said, code

    def __exit__(self, *_):
        if self.process.poll() is None:
            # With what it has started.
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(SECONDS)
        self.reader.join(SECONDS)
        self.process.stdout.close()
