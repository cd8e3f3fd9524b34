"""A hub's whole way: two people sign in once in a real browser, and each one's R, posit-sdk and git, as their own local user,
get that person's token and spend it; a sign-out ends it everywhere.

Run as root, with what is to be tested in the environment:

    ENTRAR=.lib/entrar/bin/entrar HUB=.build/hub/debug/entrar-hub LIBRARY=.lib python tests/hub/test_hub.py
"""

import base64
import json
import os
import subprocess
import unittest

from machine import SECONDS, SIGN_IN, Machine, User  # noqa: F401 (its path holds the next module)
from test_browser import Browser

GRAPH = "https://graph.microsoft.com"
DEVOPS = "499b84ac-1321-427f-aa17-267ca6975798"

R_SCRIPT = """
library(entrar)
account <- azure_account()
token <- getDelegatedAzureToken("https://graph.microsoft.com")
url <- paste0(Sys.getenv("GRAPH"), "/v1.0/me")
me <- httr2::request(url) |> httr2::req_auth_bearer_token(token$access_token) |> httr2::req_perform() |> httr2::resp_body_json()
cat(account$username, me$userPrincipalName, sep = "\\n")
"""

R_REFUSED = """
refused <- tryCatch(entrar::getDelegatedAzureToken("https://graph.microsoft.com"), entrar_error = identity)
cat(class(refused)[[1]], conditionMessage(refused), sep = "\\n")
"""

PYTHON_SCRIPT = """
import os, requests
from posit.workbench import Client
client = Client()
token = client.oauth.get_delegated_azure_token("https://graph.microsoft.com")
headers = {"Authorization": "Bearer " + token["access_token"]}
print(requests.get(os.environ["GRAPH"] + "/v1.0/me", headers=headers, timeout=60).json()["userPrincipalName"])
"""


def claims(token):
    """What a JWT says, unverified."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def setUpModule():
    global ADA, BOB, EVE, MACHINE, BROWSER
    enter = unittest.enterModuleContext
    ADA, BOB, EVE = enter(User("ada")), enter(User("bob")), enter(User("eve"))
    MACHINE = enter(Machine(os.environ["ENTRAR"], os.environ["HUB"], os.environ["LIBRARY"], ADA, BOB))
    BROWSER = enter(Browser("hub"))


class Hub(unittest.TestCase):
    """In this order: what is signed in stays so until the last."""

    def visit(self, name, user, press, title, **visit):
        went = BROWSER.visit(
            name=name, address=MACHINE.page, first="button.main", answer="sign_in", user=user.upn, press=press, **visit
        )
        self.assertEqual(went["console"], [], name)
        self.assertLessEqual(set(went["hosts"]), {"localhost", "127.0.0.1"})
        self.assertEqual(went["overflow"], 0)
        for address in went["history"]:
            self.assertNotIn("code=", address)
        self.assertIn(title, went["text"])
        return went

    def variables(self, user, *options):
        """A login shell's variables after `entrar env`."""
        command = f'eval "$("$ENTRAR" env --shell sh {" ".join(options)})" && exec env -0'
        ran = user.run(["sh", "-c", command], MACHINE.variables() | {"ENTRAR": str(MACHINE.entrar)})
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return dict(line.split("=", 1) for line in ran.stdout.split("\0") if "=" in line)

    def r(self, user, script, variables=None):
        variables = variables or MACHINE.variables()
        ran = user.run(["Rscript", "--vanilla", "-e", script], variables | {"GRAPH": MACHINE.tenant.url})
        self.assertEqual(ran.returncode, 0, ran.stderr)
        return ran.stdout.splitlines()

    def test_1_every_setting_is_good(self):
        checked = MACHINE.command("check")
        self.assertNotIn("PROBLEM", checked)
        for line in ("database", "tenant", "credential", "clock", "page", "socket", "people"):
            self.assertIn(f"ok       {line}", checked)

    def test_2_before_the_sign_in_the_page_is_named(self):
        kind, message = self.r(ADA, R_REFUSED)[:2]
        self.assertEqual(kind, "entrar_error_sign_in_required")
        self.assertIn(MACHINE.page, "\n".join(self.r(ADA, R_REFUSED)) + message)

    def test_3_two_people_sign_in(self):
        for user, window in ((ADA, {}), (BOB, {"dark": True, "width": 390})):
            yes = "button[value=yes]"
            went = self.visit(f"hub-{user.name.split('-')[0]}", user, [yes], "Your Azure sign-in", **window)
            self.assertIn(user.name, went["text"])
            self.assertEqual(went["url"], f"{MACHINE.page}/")
        people = {row["user"]: row["username"] for row in MACHINE.rows("people")}
        self.assertEqual(people, {ADA.name: ADA.upn, BOB.name: BOB.upn})

    def test_4_each_ones_r_gets_and_spends_their_own_token(self):
        for user in (ADA, BOB):
            self.assertEqual(self.r(user, R_SCRIPT), [user.upn, user.upn])

    def test_5_posit_sdk_unmodified(self):
        for user in (ADA, BOB):
            variables = self.variables(user)
            self.assertEqual(variables["ENTRAR_ORIGIN"], "hub")
            self.assertNotIn("RS_SESSION_RPC_COOKIE", variables)
            python = {"PYTHONPATH": str(MACHINE.directory / "python"), "GRAPH": MACHINE.tenant.url}
            ran = user.run(["/usr/bin/python3", "-B", "-c", PYTHON_SCRIPT], variables | python)
            self.assertEqual(ran.stdout.strip(), user.upn, ran.stderr)

    def test_6_git(self):
        helper = MACHINE.entrar.parent / "git-credential-pwb"
        for user in (ADA, BOB):
            asked = "protocol=https\nhost=dev.azure.com\npath=org/project/_git/repo\ncapability[]=authtype\n\n"
            git = ["git", "-c", "credential.helper=", "-c", f"credential.helper={helper}", "-c", "credential.useHttpPath=true"]
            variables = MACHINE.variables() | {"GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_GLOBAL": "/dev/null"}
            ran = user.run([*git, "credential", "fill"], variables, input=asked)
            fields = dict(line.split("=", 1) for line in ran.stdout.splitlines() if "=" in line)
            token = fields.get("credential") or fields.get("password")
            self.assertIsNotNone(token, ran.stdout + ran.stderr)
            self.assertEqual((claims(token)["upn"], claims(token)["aud"]), (user.upn, DEVOPS))

    def test_7_somebody_else_gets_nothing(self):
        self.assertEqual(self.r(EVE, R_REFUSED)[0], "entrar_error_sign_in_required")
        # Root is served by nobody.
        ran = subprocess.run(
            ["Rscript", "--vanilla", "-e", R_REFUSED],
            env=MACHINE.variables() | {"PATH": os.environ["PATH"], "HOME": "/root", "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        self.assertIn("entrar_error_access_denied", ran.stdout, ran.stderr)

    def test_8_a_sign_out_ends_it_everywhere(self):
        variables = self.variables(ADA)
        went = self.visit("hub-sign-out", ADA, ["form[action$=sign-out-everywhere] button"], "60 to 90 minutes")
        self.assertIn("signed out", went["text"].lower())
        self.assertEqual(self.r(ADA, R_REFUSED)[0], "entrar_error_sign_in_required")
        refused = self.r(ADA, R_REFUSED, variables | {"R_LIBS": str(MACHINE.directory / "R")})
        self.assertEqual(refused[0], "entrar_error_bad_cookie")
        self.assertEqual(self.r(BOB, R_SCRIPT), [BOB.upn, BOB.upn])

    def test_9_the_audit_tells_it_without_a_secret(self):
        rows = MACHINE.rows("audit")
        granted = [row["user"] for row in rows if row["event"] == "token" and row["result"] == "ok"]
        for user in (ADA, BOB):
            self.assertGreaterEqual(sum(user.name in name for name in granted), 3)
        MACHINE.log.seek(0)
        for printed in (json.dumps(rows), MACHINE.log.read()):
            self.assertNotIn("eyJ", printed)
            self.assertNotIn(MACHINE.tenant.secret, printed)


if __name__ == "__main__":
    unittest.main()
