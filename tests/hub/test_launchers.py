"""Programs that start people's sessions: a real JupyterHub, and a stand-in that calls Slurm's scripts as slurmd does. R and
posit-sdk in two people's servers and jobs get each one's own token.

Run as root, in a network of its own, with what is to be tested in the environment:

    ENTRAR=.lib/entrar/bin/entrar HUB=.build/hub/debug/entrar-hub LIBRARY=.lib unshare --net python tests/hub/test_launchers.py
"""

import asyncio
import re
import secrets
import shutil
import subprocess
import sys
import time
from unittest import mock

import requests
import test_hub
from chromium import NODE
from machine import BUILD, TESTS, own_network
from users import PATH, SECONDS, Started, as_user

PACKAGING = TESTS.parent / "packaging"
JUPYTER = BUILD / "jupyterhub"
API = "http://127.0.0.1:8081/hub/api"

CONFIGURATION = """
import sys
sys.path[:0] = ["{launcher}"]
from entrar_jupyterhub import sessions
sessions(c, key_file="{directory}/launcher.key", hub="{socket}", directory="{sessions}")

c.JupyterHub.bind_url = "http://127.0.0.1:8000"
c.JupyterHub.db_url = "sqlite:///{directory}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = "{directory}/cookie"
c.ConfigurableHTTPProxy.command = ["{node}", "{jupyter}/node_modules/configurable-http-proxy/bin/configurable-http-proxy"]
c.ConfigurableHTTPProxy.pid_file = "{directory}/proxy.pid"
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allowed_users = {{{users}}}
c.JupyterHub.spawner_class = "localprocess"
c.Spawner.cmd = ["/usr/bin/python3", "-m", "jupyterhub.singleuser"]
c.Spawner.env_keep = ["PATH", "LC_ALL"]
c.Spawner.environment = {{"PYTHONPATH": "{own}", "R_LIBS": "{library}", "GRAPH": "{graph}"}}
c.JupyterHub.services = [{{"name": "test", "api_token": "{token}"}}]
c.JupyterHub.load_roles = [
    {{"name": "test", "services": ["test"], "scopes": ["admin:users", "admin:servers", "access:servers"]}},
]
"""
# Within a person's server: posit-sdk in the kernel itself, R beside it.
IN_THE_KERNEL = """
import getpass, os, stat, subprocess
print(getpass.getuser())
directory = os.environ["PWB_SESSION_RUNTIME_DIR"]
for path in (directory, directory + "/rpc_cookie"):
    found = os.stat(path)
    print(stat.filemode(found.st_mode), found.st_uid == os.getuid())
print("RS_SESSION_RPC_COOKIE" in os.environ)
{python}
print(subprocess.run(["Rscript", "--vanilla", "-e", {r!r}], capture_output=True, text=True, check=True).stdout)
"""
SLURM = ["SLURM_JOB_ID", "SLURM_JOB_UID", "SLURM_JOB_USER", "SLURMD_NODENAME", "SLURM_SCRIPT_CONTEXT"]


def setUpModule():
    own_network()
    test_hub.setUpModule()


class Launched(test_hub.Case):
    """The tests run in the order of their names, on one machine."""

    @classmethod
    def setUpClass(cls):
        cls.set_up(["ada", "bob", "eve"])
        cls.ada, cls.bob, cls.eve = cls.users
        cls.directory = cls.machine.directory / "launchers"
        cls.directory.mkdir(mode=0o755)
        cls.sessions = cls.directory / "sessions"
        cls.launcher = cls.directory / "lib"
        cls.launcher.mkdir()
        for part in ("launcher", "jupyterhub", "slurm"):
            shutil.copytree(PACKAGING / part, cls.launcher, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))

    def key(self, name, *options):
        """Adds a launcher for both people, and not for the third; the file of its key."""
        users = ",".join(user.name for user in (self.ada, self.bob))
        file = self.directory / f"{name}.key"
        file.touch(mode=0o600)
        file.write_text(self.machine.hub("launcher", "add", name, "--users", users, *options))
        return file

    def who_has_a_session(self):
        return [row["user"] for row in self.machine.rows("sessions")]

    def test_1_both_sign_in(self):
        for user in (self.ada, self.bob):
            self.visit(f"launched-{user.name}", user, "Your Azure sign-in", press=["button[value=yes]"])

    # --- JupyterHub ---

    def jupyter(self, method, path, status, **options):
        headers = {"Authorization": f"token {self.token}"}
        reply = requests.request(method, API + path, headers=headers, timeout=SECONDS, **options)
        self.assertIn(reply.status_code, status, reply.text)
        return reply

    def start_jupyterhub(self):
        self.key("launcher", "--uid", "0")
        own = self.directory / "python"
        shutil.copytree(JUPYTER / "python", own, ignore=shutil.ignore_patterns("__pycache__"))
        subprocess.run(["chmod", "-R", "u=rwX,go=rX", own], check=True, timeout=SECONDS)
        type(self).token = secrets.token_hex(16)
        configuration = self.directory / "jupyterhub_config.py"
        configuration.touch(mode=0o600)
        configuration.write_text(
            CONFIGURATION.format(
                launcher=self.launcher,
                directory=self.directory,
                socket=self.machine.socket,
                sessions=self.sessions,
                node=NODE,
                jupyter=JUPYTER,
                users=", ".join(repr(user.name) for user in self.users),
                own=f"{own}:{self.machine.directory}/python",
                library=self.machine.directory / "R",
                graph=self.machine.tenant.url,
                token=self.token,
            )
        )
        environment = {"PYTHONPATH": str(own), "PATH": PATH, "LC_ALL": "C.UTF-8", "CONFIGPROXY_AUTH_TOKEN": self.token}
        command = ["/usr/bin/python3", "-m", "jupyterhub", "-f", str(configuration)]
        started = self.enterClassContext(Started(command, env=environment, cwd=self.directory))
        started.until("JupyterHub is now running")
        return started

    def server(self, user):
        self.jupyter("POST", f"/users/{user.name}", {201, 409})
        self.jupyter("POST", f"/users/{user.name}/server", {201, 202})
        server = self.until(user, lambda servers: servers.get("", {}).get("ready"))[""]
        return f"http://127.0.0.1:8000{server['url']}"

    def until(self, user, condition):
        """The servers of a user, as JupyterHub has them, when they meet a condition."""
        deadline = time.monotonic() + SECONDS
        while not condition(servers := self.jupyter("GET", f"/users/{user.name}", {200}).json()["servers"]):
            self.assertLess(time.monotonic(), deadline, self.jupyterhub.said)
            time.sleep(0.2)
        return servers

    def kernel(self, server, code):
        command = ["/usr/bin/python3", "-B", TESTS / "hub/kernel.py", server]
        own = {"PYTHONPATH": str(self.directory / "python"), "PATH": PATH, "JUPYTER_TOKEN": self.token}
        return subprocess.run(command, input=code, env=own, capture_output=True, text=True, timeout=SECONDS, check=True)

    def in_the_kernel(self, server, code):
        ran = self.kernel(server, code)
        self.assertEqual(ran.stderr, "")
        return ran.stdout.split()

    def test_2a_two_people_start_servers(self):
        type(self).jupyterhub = self.start_jupyterhub()
        type(self).servers = {user: self.server(user) for user in (self.ada, self.bob)}
        self.assertEqual(len(self.machine.rows("sessions")), 2)

    def test_2b_each_ones_kernel_and_r_get_their_own_token(self):
        code = IN_THE_KERNEL.format(python=test_hub.PYTHON_SPENDS, r=test_hub.R_SPENDS)
        for user, server in self.servers.items():
            private = ["drwx------", "True", "-rw-------", "True", "False"]
            self.assertEqual(self.in_the_kernel(server, code), [user.name, *private, user.upn, user.upn])

    def test_2c_nobody_reads_anothers_cookie(self):
        (cookie,) = self.sessions.glob(f"jupyter-{self.ada.name}~/rpc_cookie")
        ran = self.kernel(self.servers[self.bob], f"print(open({str(cookie)!r}).read())")
        self.assertEqual(ran.stdout, "")
        self.assertIn("PermissionError", ran.stderr)
        for path in self.sessions.glob("*.session"):
            self.assertEqual((path.stat().st_uid, path.stat().st_mode & 0o777), (0, 0o600))

    def test_2d_somebody_who_is_not_on_the_list_has_a_server_without_tokens(self):
        server = self.server(self.eve)
        code = 'import os; print(sorted(name for name in os.environ if name.startswith(("RS_", "PWB_", "ENTRAR_"))))'
        self.assertEqual(self.in_the_kernel(server, code), ["[]"])
        self.assertIn(f"No Azure tokens for {self.eve.name}: launcher launcher may open no session", self.jupyterhub.said)

    def test_2e_the_session_ends_with_the_server(self):
        cookie = (self.sessions / f"jupyter-{self.ada.name}~/rpc_cookie").read_text()
        self.jupyter("DELETE", f"/users/{self.ada.name}/server", {202, 204})
        self.until(self.ada, lambda servers: not servers)
        self.assertEqual(self.who_has_a_session(), [f"{self.bob.name} (uid {self.bob.uid})"])
        self.assertEqual(list(self.sessions.glob(f"*{self.ada.name}*")), [])
        variables = {"RS_SERVER_ADDRESS": f"http://{self.machine.rpc}", "RS_SESSION_RPC_COOKIE": cookie}
        self.assertIn("401", self.python(self.ada, **variables).stderr)

    def test_2f_with_jupyterhub_all_end(self):
        self.jupyterhub.process.terminate()
        said, _ = self.jupyterhub.end()
        self.assertEqual(self.machine.rows("sessions"), [], said)
        self.assertEqual(list(self.sessions.iterdir()), [])
        self.assertNotIn("Traceback", said)

    def test_2g_a_new_session_takes_the_place_of_one_before_it_expires(self):
        sys.path.insert(0, str(self.launcher))
        import entrar_jupyterhub

        launcher = entrar_jupyterhub.Launcher(self.directory / "launcher.key", str(self.machine.socket), self.sessions)
        spawner = mock.Mock(environment={}, user=mock.Mock(), log=mock.Mock())
        spawner.name, spawner.user.name = "gpu/1", self.ada.name
        cookie = self.sessions / f"jupyter-{self.ada.name}~gpu%2F1/rpc_cookie"
        waited, seen = [], []

        async def sleep(seconds):
            waited.append(round(seconds, -2))
            seen.append(cookie.read_text())
            if len(seen) == 2:
                await asyncio.Event().wait()

        async def go():
            hooks = entrar_jupyterhub.Hooks(launcher)
            with mock.patch.object(entrar_jupyterhub.asyncio, "sleep", sleep):
                await hooks.open(spawner)
                (renewal,) = hooks.renewals.values()
                async with asyncio.timeout(SECONDS):
                    while len(seen) < 2:
                        await asyncio.wait([renewal], timeout=0.1)
            self.assertEqual(len(self.machine.rows("sessions")), 1)
            await hooks.end(spawner)

        asyncio.run(go())
        # Three quarters of twelve hours.
        self.assertEqual(waited, [32_400, 32_400])
        self.assertNotEqual(*seen)
        self.assertEqual(spawner.environment["PWB_SESSION_RUNTIME_DIR"], str(cookie.parent))
        self.assertEqual((spawner.log.mock_calls, self.machine.rows("sessions")), ([], []))
        self.assertEqual(list(self.sessions.iterdir()), [])

    # --- Slurm ---

    def slurm(self, script, job, user):
        """As slurmd calls prolog and epilog: as root, with little more in the environment than what it says of the job."""
        values = [str(job), str(user.uid), user.name, "node7", f"{script}_slurmd"]
        environment = dict(zip(SLURM, values, strict=True)) | {"SSL_CERT_FILE": str(self.machine.ca)}
        command = [self.launcher / script]
        ran = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, timeout=SECONDS, check=False)
        # Another code would drain the node.
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return ran.stderr

    def task(self, job, user, command):
        """As slurmstepd starts a task: what its prolog prints becomes the environment, word for word."""
        environment = user.variables({"SLURM_JOB_ID": str(job), "R_LIBS": str(self.machine.directory / "R")})
        environment |= {"GRAPH": self.machine.tenant.url, "REQUESTS_CA_BUNDLE": str(self.machine.ca)}
        environment |= {"PYTHONPATH": str(self.machine.directory / "python")}
        prolog = as_user(user.uid, [self.launcher / "task-prolog"])
        said = subprocess.run(prolog, env=environment, capture_output=True, text=True, timeout=SECONDS, check=True).stdout
        for line in said.splitlines():
            name, value = re.fullmatch(r"export ([A-Z_]+)=(.*)", line).groups()
            environment[name] = value
        options = {"env": environment, "cwd": user.home, "capture_output": True, "text": True, "timeout": SECONDS}
        return subprocess.run(as_user(user.uid, command), check=False, **options)

    def test_3a_a_job_has_the_token_of_its_user(self):
        self.key("slurm", "--network", "127.0.0.0/8")
        settings = self.launcher / "entrar_slurm.py"
        for script, old, new in [
            (settings, "https://hub.example.com", self.machine.page),
            (settings, "/etc/slurm/entrar-hub.key", str(self.directory / "slurm.key")),
            (settings, "/run/entrar-jobs", str(self.directory / "jobs")),
            (self.launcher / "task-prolog", "/run/entrar-jobs", str(self.directory / "jobs")),
        ]:
            text = script.read_text()
            self.assertEqual(text.count(old), 1, old)
            script.write_text(text.replace(old, new))
        people = {41: self.ada, 42: self.bob}
        for job, user in people.items():
            self.assertEqual(self.slurm("prolog", job, user), "")
        for job, user in people.items():
            ran = self.task(job, user, ["/usr/bin/python3", "-B", "-c", test_hub.PYTHON_SPENDS])
            self.assertEqual(ran.stdout.split(), [user.upn], ran.stderr)
            ran = self.task(job, user, ["Rscript", "--vanilla", "-e", test_hub.R_SPENDS])
            self.assertEqual(ran.stdout.split(), [user.upn], ran.stderr)
        ran = self.task(42, self.bob, ["cat", self.directory / "jobs/41/rpc_cookie"])
        self.assertIn("Permission denied", ran.stderr)
        machines = {row["machine"] for row in self.machine.rows("sessions")}
        self.assertEqual({name.rsplit(" on ")[0] for name in machines}, {"Slurm job 41", "Slurm job 42"})

    def test_3b_it_ends_with_the_job(self):
        cookie = (self.directory / "jobs/41/rpc_cookie").read_text()
        self.assertEqual(self.slurm("epilog", 41, self.ada), "")
        self.assertEqual(self.who_has_a_session(), [f"{self.bob.name} (uid {self.bob.uid})"])
        left = sorted(path.name for path in (self.directory / "jobs").iterdir())
        self.assertEqual(left, ["42", "42.environment", "42.session"])
        variables = {"RS_SERVER_ADDRESS": f"http://{self.machine.rpc}", "RS_SESSION_RPC_COOKIE": cookie}
        self.assertIn("401", self.python(self.ada, **variables).stderr)
        self.assertEqual(self.slurm("epilog", 42, self.bob), "")
        self.assertEqual(list((self.directory / "jobs").iterdir()), [])

    def test_3c_a_job_without_a_session_runs_all_the_same(self):
        self.assertIn("launcher slurm may open no session for", self.slurm("prolog", 43, self.eve))
        ran = self.task(43, self.eve, ["env"])
        self.assertNotIn("RS_SERVER_ADDRESS", ran.stdout)
        self.assertEqual(self.slurm("epilog", 43, self.eve), "")
        self.machine.stop()
        try:
            self.assertIn("job 44 has no Azure tokens", self.slurm("prolog", 44, self.ada))
            self.assertEqual(self.slurm("epilog", 44, self.ada), "")
        finally:
            self.machine.start()


if __name__ == "__main__":
    test_hub.unittest.main()
