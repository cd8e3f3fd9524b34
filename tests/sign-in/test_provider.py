"""The agent signs in and exchanges at a provider that nobody here wrote: npm's oidc-provider, a certified one.

Run with the `entrar` to test in the environment:

    ENTRAR=.lib/entrar/bin/entrar python tests/sign-in/test_provider.py
"""

import os
import subprocess
import tempfile
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import parse_qs, urljoin, urlsplit

import browser
import jwt
import requests
from agent import SECONDS, Agent, Refused
from chromium import MODULES, NODE

HERE = Path(__file__).resolve().parent
TENANT = "22222222-2222-4222-8222-222222222222"
CLIENT = "33333333-3333-4333-8333-333333333333"
GRAPH = "https://graph.microsoft.com"
STORAGE = "https://storage.azure.com"
VAULT = "https://vault.azure.net"
RESOURCES = [GRAPH, STORAGE, VAULT]


class Provider:
    """oidc-provider as a process, and what it saw. To be used in `with`."""

    def __enter__(self):
        command = [NODE, HERE / "provider.mjs", MODULES, TENANT, CLIENT, *RESOURCES]
        self.log = tempfile.TemporaryFile("w+")
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        watchdog = threading.Timer(SECONDS, self.process.kill)
        watchdog.start()
        first = self.process.stdout.readline()
        watchdog.cancel()
        if not first:
            self.stop()
            raise RuntimeError(f"The provider did not start: {self._errors()}")
        self.url = first.strip()
        self.base = f"{self.url}/{TENANT}/v2.0"
        return self

    def _errors(self):
        self.log.seek(0)
        return self.log.read()

    def stop(self):
        self.process.stdin.close()
        try:
            self.process.wait(SECONDS)
        finally:
            self.process.kill()
            self.process.wait()

    def __exit__(self, *_):
        self.stop()
        self.process.stdout.close()
        self.log.close()

    def configuration(self):
        return requests.get(f"{self.base}/.well-known/openid-configuration", timeout=SECONDS).json()

    def seen(self, what, grant=None):
        """What it has noted of requests of this kind since it was told to forget."""
        lines = requests.get(f"{self.url}/test/seen", timeout=SECONDS).json()
        return [line for line in lines if line["saw"] == what and grant in (None, line.get("grant"))]

    def forget(self):
        requests.delete(f"{self.url}/test/seen", timeout=SECONDS).raise_for_status()

    def redeem(self, **form):
        """What its token endpoint says to somebody who is not the agent."""
        endpoint = self.configuration()["token_endpoint"]
        return requests.post(endpoint, data={"client_id": CLIENT} | form, timeout=SECONDS)


def setUpModule():
    global PROVIDER
    PROVIDER = unittest.enterModuleContext(Provider())


class Case(unittest.TestCase):
    def setUp(self):
        directory = self.enterContext(tempfile.TemporaryDirectory(prefix="provider-"))
        self.agent = self.enterContext(Agent(os.environ["ENTRAR"], Path(directory) / "agent"))
        PROVIDER.forget()

    def open(self, attempt, session, person="ada@example.com"):
        """A person signs in and consents; where the provider then sends the browser."""
        page = session.get(attempt["address"], timeout=SECONDS)
        for fields in ({"login": person, "password": "anything"}, {}):
            page.raise_for_status()
            form = browser.Form(page)
            page = session.post(form.address, data=form.fields | fields, allow_redirects=False, timeout=SECONDS)
            while page.is_redirect:
                address = urljoin(page.url, page.headers["location"])
                if not address.startswith(PROVIDER.url):
                    return address
                page = session.get(address, allow_redirects=False, timeout=SECONDS)
        raise AssertionError("The provider asks for more than a login and consent.")

    def sign_in(self, person="ada@example.com"):
        attempt = self.agent.begin(PROVIDER.url, TENANT, CLIENT, login_hint=person)
        with requests.Session() as session:
            back = self.open(attempt, session, person)
            page = session.get(back, timeout=SECONDS)
        self.assertEqual((page.status_code, urlsplit(page.url).path, urlsplit(page.url).query), (200, "/done", ""))
        return self.agent.wait(attempt)

    def granted(self, resource):
        """An access token for the resource, which its owner would take."""
        reply = self.agent.token(resource)
        self.assertTrue(reply["result"], reply.get("oauth2_error"))
        token = reply["token"]["access_token"]
        keys = jwt.PyJWKSet.from_dict(requests.get(PROVIDER.configuration()["jwks_uri"], timeout=SECONDS).json())
        claims = jwt.decode(token, keys["test"].key, algorithms=["RS256"], audience=resource, issuer=PROVIDER.base)
        self.assertEqual(claims["scope"], f"{resource}/.default")
        # Less by the time that the reply of another call was under way, where two share it.
        self.assertTrue(3500 < reply["token"]["expires_in"] <= 3600, reply["token"]["expires_in"])
        return claims

    def refused(self, resource):
        """The error in the place of a token."""
        reply = self.agent.token(resource)
        self.assertFalse(reply["result"])
        return reply["oauth2_error"]


class SignIn(Case):
    def test_the_account_is_the_one_that_signed_in(self):
        account = self.sign_in("bob@example.com")
        self.assertEqual(account["username"], "bob@example.com")
        self.assertEqual(account["name"], "Bob Example")
        self.assertEqual(account["tenant"], TENANT)
        self.assertEqual(account["object_id"], "aaaaaaaa-0000-4000-8000-000000000002")
        self.assertEqual(self.granted(GRAPH)["sub"], "bob@example.com")

    def test_a_code_is_worth_nothing_without_the_verifier(self):
        attempt = self.agent.begin(PROVIDER.url, TENANT, CLIENT)
        with requests.Session() as session:
            back = self.open(attempt, session)
            (code,) = parse_qs(urlsplit(back).query)["code"]
            target = {"grant_type": "authorization_code", "code": code, "redirect_uri": back.split("?")[0].rstrip("/")}
            for verifier in ({"code_verifier": "A" * 43}, {}):
                stolen = PROVIDER.redeem(**target, **verifier)
                self.assertEqual((stolen.status_code, stolen.json()["error"]), (400, "invalid_grant"))
            session.get(back, timeout=SECONDS).raise_for_status()
        self.agent.wait(attempt)
        (asked,) = PROVIDER.seen("authorization")
        self.assertEqual((asked["method"], asked["challenge"]), ("S256", 43))
        self.assertEqual(asked["redirect"], attempt["address"].split("/start/")[0])
        redeemed = PROVIDER.seen("token", "authorization_code")
        self.assertEqual([(line.get("verifier"), line["status"]) for line in redeemed], [(43, 400), (None, 400), (43, 200)])

    def test_the_person_declines(self):
        attempt = self.agent.begin(PROVIDER.url, TENANT, CLIENT)
        with requests.Session() as session:
            page = session.get(attempt["address"], timeout=SECONDS)
            form = browser.Form(page)
            # The link beside the form.
            page = session.get(f"{form.address}/abort", timeout=SECONDS)
        self.assertIn("You are not signed in", page.text)
        self.assertEqual(urlsplit(page.url).query, "")
        with self.assertRaises(Refused) as raised:
            self.agent.wait(attempt)
        self.assertEqual(raised.exception.kind, "access_denied")
        self.assertIsNone(self.agent.ask("account"))
        self.assertEqual(PROVIDER.seen("token"), [])

    def test_a_device_code(self):
        attempt = self.agent.begin(PROVIDER.url, TENANT, CLIENT, method="device_code")
        with requests.Session() as session:
            page = session.get(attempt["address"], timeout=SECONDS)
            # The code; that it is the one on the device; login; consent.
            for fields in (
                {"user_code": attempt["user_code"]},
                {"confirm": "yes"},
                {"login": "ada@example.com", "password": "anything"},
                {},
            ):
                page.raise_for_status()
                form = browser.Form(page)
                page = session.post(form.address, data=form.fields | fields, timeout=SECONDS)
            self.assertIn("Sign-in Success", page.text)
        self.assertEqual(self.agent.wait(attempt)["username"], "ada@example.com")
        self.granted(STORAGE)


class Exchanges(Case):
    def setUp(self):
        super().setUp()
        self.sign_in()
        PROVIDER.forget()

    def presented(self):
        """The refresh tokens that were presented since, in their order."""
        return [line["refreshToken"] for line in PROVIDER.seen("token", "refresh_token")]

    def test_each_exchange_uses_the_refresh_token_of_the_one_before(self):
        for resource in RESOURCES * 3:
            self.granted(resource)
        self.assertEqual(len(self.presented()), 9)
        self.assertEqual(len(set(self.presented())), 9)
        self.assertEqual([line["status"] for line in PROVIDER.seen("token")], [200] * 9)

    def test_exchanges_for_different_resources_at_once(self):
        # Side by side, two of them would present one refresh token, and the provider would end the sign-in.
        with ThreadPoolExecutor(12) as pool:
            claims = list(pool.map(self.granted, RESOURCES * 10))
        self.assertEqual([claim["aud"] for claim in claims], RESOURCES * 10)
        presented = self.presented()
        self.assertEqual(len(set(presented)), len(presented))
        self.assertGreaterEqual(len(presented), 3)
        self.assertEqual({line["status"] for line in PROVIDER.seen("token")}, {200})

    def test_a_used_refresh_token_ends_the_sign_in(self):
        self.granted(GRAPH)
        self.granted(STORAGE)
        (used, *_) = self.presented()
        stolen = PROVIDER.redeem(grant_type="refresh_token", refresh_token=used)
        self.assertEqual((stolen.status_code, stolen.json()["error"]), (400, "invalid_grant"))
        # The provider takes it for stolen, and revokes all that came of the sign-in.
        self.assertEqual(self.refused(VAULT)["error"], "invalid_grant")
        asked = len(self.presented())
        self.assertEqual(self.refused(VAULT)["error"], "invalid_grant")
        self.assertEqual(len(self.presented()), asked)
        self.sign_in()
        self.granted(VAULT)

    def test_a_resource_that_is_not_consented_to(self):
        self.assertEqual(self.refused("https://management.azure.com")["error"], "invalid_scope")
        self.granted(GRAPH)

    def test_sign_out(self):
        account = self.agent.ask("sign_out")
        self.assertEqual(account["username"], "ada@example.com")
        self.assertEqual(self.agent.process.wait(SECONDS), 0)
        with self.assertRaises(OSError):
            self.agent.token(GRAPH)
        self.assertEqual(self.presented(), [])


if __name__ == "__main__":
    unittest.main()
