"""A hub's whole way: people sign in once in a real browser, and each one's R, posit-sdk and git, as their own local user,
get that person's token and spend it; a sign-out ends it everywhere.

Run as root, with what is to be tested in the environment:

    ENTRAR=.lib/entrar/bin/entrar HUB=.build/hub/debug/entrar-hub LIBRARY=.lib python tests/hub/test_hub.py
"""

import json
import os
import re
import socket
import subprocess
import tempfile
import unittest

import jwt
from machine import BY_CODE, Machine  # Its paths lead to the next two.
from azure_devops import AzureDevOps, Tenant  # isort: skip
from test_browser import Browser
from terminal import Terminal
from users import PATH, SECONDS, User, as_user

SIGN_IN = 'account <- entrar::azure_sign_in(); cat("as", account$username)'

# A token spent on the tenant's Microsoft Graph.
R_SPENDS = """
token <- entrar::getDelegatedAzureToken("https://graph.microsoft.com")
request <- httr2::req_auth_bearer_token(httr2::request(paste0(Sys.getenv("GRAPH"), "/v1.0/me")), token$access_token)
me <- httr2::resp_body_json(httr2::req_perform(request))
cat(entrar::azure_account()$username, me$userPrincipalName, sep = "\\n")
"""
R_REFUSED = """
refused <- tryCatch(entrar::getDelegatedAzureToken("https://graph.microsoft.com"), entrar_error = identity)
cat(class(refused)[[1]], conditionMessage(refused), sep = "\\n")
"""
PYTHON_SPENDS = """
import os, requests
from posit.workbench import Client
client = Client()
token = client.oauth.get_delegated_azure_token("https://graph.microsoft.com")
graph = requests.Session()
graph.trust_env = False
reply = graph.get(os.environ["GRAPH"] + "/v1.0/me", headers={"Authorization": "Bearer " + token["access_token"]}, timeout=60)
print(reply.json()["userPrincipalName"])
"""


def setUpModule():
    global BROWSER
    BROWSER = unittest.enterModuleContext(Browser("hub"))


class Case(unittest.TestCase):
    """The tests of a class run in the order of their names, on one machine."""

    @classmethod
    def set_up(cls, users, **options):
        cls.users = [cls.enterClassContext(User(name)) for name in users]
        programs = (os.environ["ENTRAR"], os.environ["HUB"], os.environ["LIBRARY"])
        cls.machine = cls.enterClassContext(Machine(*programs, cls.users, **options))

    def visit(self, name, user, title, address=None, status=200, **visit):
        """The last page of a person's who signs in with the hub's button and then goes on."""
        went = BROWSER.visit(
            name=name,
            address=address or self.machine.page,
            certificate=self.machine.fingerprint,
            first="button.main",
            answer="sign_in",
            user=user.upn,
            **visit,
        )
        # Chromium writes a line for each page with another status than 200.
        self.assertEqual([line for line in went["console"] if f"status of {status} " not in line], [], name)
        self.assertEqual(went["status"], status)
        self.assertLessEqual(set(went["hosts"]), {"localhost", "127.0.0.1"})
        self.assertEqual(went["overflow"], 0)
        for address in went["history"]:
            self.assertNotRegex(address, "code=|ticket=")
        self.assertEqual(went["title"].partition(" – ")[0], title)
        return went

    def variables(self, user, *options):
        """A login shell's variables after `entrar env`."""
        command = f'eval "$("$ENTRAR" env --shell sh {" ".join(options)})" && exec env -0'
        entrar = {"ENTRAR": str(self.machine.programs / "entrar")}
        ran = user.run(["sh", "-c", command], self.machine.variables() | entrar)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        shown = dict(line.split("=", 1) for line in ran.stdout.split("\0") if "=" in line)
        return {name: value for name, value in shown.items() if name.startswith(("RS_", "PWB_", "ENTRAR_O"))}

    def r(self, user, script, **variables):
        variables = self.machine.variables() | {"GRAPH": self.machine.tenant.url} | variables
        ran = user.run(["Rscript", "--vanilla", "-e", script], variables)
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return ran.stdout.splitlines()

    def python(self, user, **variables):
        """posit-sdk's process; it knows the hub by these variables alone."""
        own = {"PYTHONPATH": str(self.machine.directory / "python"), "GRAPH": self.machine.tenant.url}
        return user.run(["/usr/bin/python3", "-B", "-c", PYTHON_SPENDS], own | variables)

    def assert_refused(self, user, kind, *words, **variables):
        raised, *message = self.r(user, R_REFUSED, **variables)
        self.assertEqual(raised, f"entrar_error_{kind}", message)
        for word in words:
            self.assertIn(word, "\n".join(message))


class Mapped(Case):
    """People whose account says which user they are."""

    @classmethod
    def setUpClass(cls):
        cls.set_up(["ada", "bob", "eve"])
        cls.ada, cls.bob, cls.eve = cls.users
        directory = cls.enterClassContext(tempfile.TemporaryDirectory(prefix="azure-devops-"))
        # People's git looks for the authority there.
        os.chmod(directory, 0o755)
        cls.devops = AzureDevOps(directory, Tenant(cls.machine.tenant.url))
        cls.addClassCleanup(cls.devops.stop)
        os.chmod(cls.devops.ca, 0o644)
        source = os.path.join(directory, "source")
        git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.com"]
        for words in (
            ["init", "-q", "-b", "main", source],
            ["-C", source, "commit", "-q", "--allow-empty", "-m", "first"],
            ["clone", "-q", "--bare", source, os.path.join(cls.devops.repositories, "organisation/project/repository")],
        ):
            subprocess.run([*git, *words], check=True, capture_output=True, timeout=SECONDS)

    def git(self, user, *words):
        settings = {
            "http.proxy": self.devops.proxy.address,
            "http.sslCAInfo": self.devops.ca,
            "credential.helper": "",
            "credential.https://dev.azure.com.helper": str(self.machine.programs / "git-credential-pwb"),
            "credential.https://dev.azure.com.useHttpPath": "true",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        alone = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": ""}
        return user.run(["git", *options, *words], self.machine.variables() | alone)

    def test_1_every_setting_is_good(self):
        checked = self.machine.hub("check")
        self.assertNotIn("PROBLEM", checked)
        for line in ("database", "tenant", "credential", "clock", "page", "socket", "people"):
            self.assertIn(f"ok       {line}", checked)

    def test_2_before_the_sign_in_the_page_is_named(self):
        self.assert_refused(self.ada, "sign_in_required", self.machine.page, "azure_sign_in()")

    def test_3a_r_waits_for_the_browser(self):
        command = ["Rscript", "--vanilla", "-e", SIGN_IN]
        with self.ada.start(command, self.machine.variables()) as r:
            said = r.until("Waiting until")
            (address,) = re.findall(r"^ +(https://\S+)$", said, re.MULTILINE)
            self.assertEqual(address, f"{self.machine.page}/")
            # Nothing has to be typed, and nothing opens on a machine without a screen.
            self.assertIn("Open the hub's page in any browser", said)
            went = self.visit("ada", self.ada, "Your Azure sign-in", address, press=["button[value=yes]"])
            said, code = r.end()
        self.assertEqual(code, 0, said)
        self.assertIn(f"Signed in as {self.ada.upn}.", said)
        self.assertIn(f"as {self.ada.upn}", said)
        self.assertIn(self.ada.name, went["text"])
        self.assertEqual(went["url"], f"{self.machine.page}/")

    def test_3b_somebody_else_signs_in_on_the_page_alone(self):
        window = {"dark": True, "width": 390}
        went = self.visit("bob", self.bob, "Your Azure sign-in", press=["button[value=yes]"], **window)
        self.assertIn(self.bob.name, went["text"])
        people = {row["user"]: row["username"] for row in self.machine.rows("people")}
        self.assertEqual(people, {user.name: user.upn for user in (self.ada, self.bob)})

    def test_3c_who_says_no_is_not_signed_in(self):
        self.visit("eve", self.eve, "Nothing was kept", press=["button[value=no]"])
        self.assert_refused(self.eve, "sign_in_required", self.machine.page)

    def test_4_each_ones_r_gets_and_spends_their_own_token(self):
        for user in (self.ada, self.bob):
            self.assertEqual(self.r(user, R_SPENDS), [user.upn, user.upn])

    def test_5_posit_sdk_unmodified(self):
        for user in (self.ada, self.bob):
            session = self.variables(user)
            self.assertEqual(
                (session["RS_SERVER_ADDRESS"], session["ENTRAR_ORIGIN"]), (f"http://{self.machine.rpc}", "hub")
            )
            self.assertNotIn("RS_SESSION_RPC_COOKIE", session)
            ran = self.python(user, **session)
            self.assertEqual(ran.stdout.strip(), user.upn, ran.stderr)
            # Nobody else has the cookie.
            file = os.path.join(session["PWB_SESSION_RUNTIME_DIR"], "rpc_cookie")
            self.assertNotEqual(self.eve.run(["cat", file], {}).returncode, 0)
            # Other machines come to the page, by https.
            remote = session | {"RS_SERVER_ADDRESS": self.machine.page, "REQUESTS_CA_BUNDLE": self.machine.ca}
            ran = self.python(user, **remote)
            self.assertEqual(ran.stdout.strip(), user.upn, ran.stderr)
            self.assertEqual(self.r(user, R_SPENDS, **remote)[1:], [user.upn])

    def test_6_git(self):
        for user in (self.ada, self.bob):
            self.devops.tokens.clear()
            clone = ["clone", "-q", "https://dev.azure.com/organisation/project/_git/repository"]
            ran = self.git(user, *clone)
            self.assertEqual(ran.returncode, 0, ran.stderr)
            self.assertIn("first", user.run(["git", "-C", "repository", "log"], {}).stdout)
            # Azure DevOps has looked at signature and audience.
            presented = {jwt.decode(token, options={"verify_signature": False})["upn"] for token in self.devops.tokens}
            self.assertEqual(presented, {user.upn})

    def test_7a_somebody_else_gets_nothing(self):
        self.assert_refused(self.eve, "sign_in_required", self.machine.page)
        ran = self.git(self.eve, "ls-remote", "https://dev.azure.com/organisation/project/_git/repository")
        self.assertNotEqual(ran.returncode, 0)
        self.assertIn(self.machine.page, ran.stderr)
        # Root becomes whom it likes, and is nobody; so is a uid without a name.
        for uid, why in ((0, "is root, who gets no tokens"), (59_999, "has no name on this machine")):
            command = as_user(uid, ["Rscript", "--vanilla", "-e", R_REFUSED])
            variables = self.machine.variables() | {"PATH": PATH, "HOME": "/nonexistent", "LC_ALL": "C.UTF-8"}
            ran = subprocess.run(
                command, env=variables, capture_output=True, text=True, timeout=SECONDS, check=False, cwd="/"
            )
            self.assertIn("entrar_error_access_denied", ran.stdout, ran.stderr)
            self.assertIn(f"uid {uid} {why}", ran.stdout)

    def test_7b_a_restart_signs_nobody_out(self):
        session = self.variables(self.ada)
        self.machine.stop()
        # Its ports stay held: nobody else is sent a cookie meanwhile.
        for port in self.machine.ports:
            with socket.socket() as other, self.assertRaisesRegex(OSError, "in use"):
                other.bind(port.getsockname())
        self.machine.start()
        self.assertEqual(self.r(self.ada, R_SPENDS), [self.ada.upn, self.ada.upn])
        self.assertEqual(self.python(self.ada, **session).stdout.strip(), self.ada.upn)

    def test_8a_sign_out_on_the_page_ends_it_everywhere(self):
        session = self.variables(self.ada)
        out = "form[action$=sign-out-everywhere] button"
        went = self.visit("sign-out", self.ada, "You are signed out everywhere", press=[out])
        self.assertIn("60 to 90 minutes", went["text"])
        self.assert_refused(self.ada, "sign_in_required", self.machine.page)
        self.assert_refused(self.ada, "bad_cookie", **session)
        ran = self.python(self.ada, **session)
        self.assertIn("401", ran.stderr)
        ran = self.git(self.ada, "ls-remote", "https://dev.azure.com/organisation/project/_git/repository")
        self.assertNotEqual(ran.returncode, 0)
        self.assertEqual(self.r(self.bob, R_SPENDS), [self.bob.upn, self.bob.upn])

    def test_8b_sign_out_in_r_ends_it_everywhere(self):
        session = self.variables(self.bob)
        said = self.r(self.bob, 'cat(entrar::azure_sign_out()$username)')
        self.assertEqual(said, [self.bob.upn])
        self.assert_refused(self.bob, "sign_in_required", self.machine.page)
        self.assert_refused(self.bob, "bad_cookie", **session)
        self.assertEqual(self.machine.rows("sessions"), [])

    def test_9_the_audit_tells_it_without_a_secret(self):
        rows = self.machine.rows("audit")
        granted = [row["user"] for row in rows if row["event"] == "token" and row["result"] == "ok"]
        for user in (self.ada, self.bob):
            # R, posit-sdk twice and git.
            self.assertGreaterEqual(sum(user.name in name for name in granted), 4)
        self.assertFalse([name for name in granted if self.eve.name in name])
        printed = json.dumps(rows) + self.machine.process.said
        secrets = {"a web token": "eyJ", "the app's secret": self.machine.tenant.secret}
        # Unlike assertNotIn, it does not print them when they are there.
        self.assertEqual([name for name, secret in secrets.items() if secret in printed], [])


class Paired(Case):
    """Somebody whose account does not say which user they are, and whom an administrator lets pair."""

    @classmethod
    def setUpClass(cls):
        cls.set_up(["pat"], people=BY_CODE)
        (cls.pat,) = cls.users

    def test_1_until_it_is_opened_nobody_signs_in(self):
        self.visit("pair-closed", self.pat, "Your account has no local user here", status=403)
        self.assert_refused(self.pat, "sign_in_required", self.machine.page)
        self.assertEqual(self.machine.rows("people"), [])

    def test_2_the_code_goes_from_the_browser_to_the_terminal(self):
        self.machine.hub("pair", self.pat.name, "--for", "1h")
        command = as_user(self.pat.uid, ["R", "--vanilla", "--quiet", "--no-readline", "--interactive"])
        variables = self.pat.variables(self.machine.variables() | {"R_BROWSER": "false", "TERM": "dumb"})
        with Terminal(command, env=variables, cwd=self.pat.home) as terminal:
            terminal.until("> ")
            terminal.type(SIGN_IN)
            address = terminal.until(r"(?m)^ +(https://\S+)$").group(1)
            went = self.visit("pair", self.pat, "Your pairing code", address)
            self.assertIn(self.pat.name, went["text"])
            code = re.search("[A-Z2-9]{4}-[A-Z2-9]{4}", went["text"]).group()
            terminal.until("Code .*: ")
            terminal.type("ABCD-2345")
            terminal.until("That is not the code; 2 tries are left.")
            terminal.until("Code .*: ")
            # Nothing is bound before the right one.
            self.assert_refused(self.pat, "sign_in_required", self.machine.page)
            terminal.type(code)
            terminal.until(f"Signed in as {self.pat.upn}")
            terminal.until(f"as {self.pat.upn}")
            terminal.type("quit()")
            self.assertEqual(terminal.process.wait(SECONDS), 0)
        self.assertEqual(self.r(self.pat, R_SPENDS), [self.pat.upn, self.pat.upn])


if __name__ == "__main__":
    unittest.main()
