"""Microsoft's own clients, MSAL and azure-identity, unmodified, sign in to the emulated tenant and spend their tokens.

Run beside Azurite, with the `entrar` to test in the environment:

    ENTRAR=.lib/entrar/bin/entrar tests/azurite/run.py python tests/sign-in/test_microsoft.py
"""

import contextlib
import hashlib
import os
import ssl
import sys
import tempfile
import unittest
import uuid
from pathlib import Path
from unittest import mock
from urllib.parse import parse_qsl, urlsplit

import browser
import msal
import requests
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import CertificateCredential, ClientSecretCredential, DeviceCodeCredential
from azure.identity import InteractiveBrowserCredential
from azure.storage.blob import BlobServiceClient
from emulator import HttpsEmulator

STORAGE = "https://storage.azure.com/.default"
GRAPH = "https://graph.microsoft.com/.default"
VAULT = "https://vault.azure.net/.default"

AZURITE = os.environ["AZURITE_BLOB"]
SECONDS = 60


class Held:
    """Offers MSAL's reply to the SDK of Azure Storage."""

    def __init__(self, reply):
        self._reply = reply

    def get_token(self, *scopes, **kwargs):
        return AccessToken(self._reply["access_token"], 2**31)


def setUpModule():
    """Starts the tenant, and trusts it beside Azurite."""
    global TENANT, AUTHORITY, LOG
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sign-in-")))
        TENANT = stack.enter_context(HttpsEmulator(os.environ["ENTRAR"], directory))
        AUTHORITY = f"{TENANT.url}/{TENANT.tenant_id}"
        LOG = directory / "browser.log"
        bundle = directory / "bundle.pem"
        bundle.write_text(Path(TENANT.ca_file).read_text() + Path(os.environ["REQUESTS_CA_BUNDLE"]).read_text())
        program = Path(__file__).with_name("browser.py")
        # The ampersand leaves the browser in the background: the app has to go on, to take its answer.
        variables = {
            "REQUESTS_CA_BUNDLE": str(bundle),
            "SIGN_IN_LOG": str(LOG),
            "BROWSER": f"{sys.executable} -B {program} %s &",
        }
        stack.enter_context(mock.patch.dict(os.environ, variables))
        unittest.addModuleCleanup(stack.pop_all().close)


class Case(unittest.TestCase):
    def setUp(self):
        LOG.write_text("")

    def answer(self, **variables):
        """What the browser will answer."""
        named = {f"SIGN_IN_{name.upper()}": value for name, value in variables.items()}
        patch = mock.patch.dict(os.environ, named)
        patch.start()
        self.addCleanup(patch.stop)

    def pages(self):
        """How many pages the browser was asked to open."""
        return len(LOG.read_text().splitlines())

    def type_code(self, address, user_code, **fields):
        """A person types the code of a device and answers."""
        with requests.Session() as session:
            page = session.get(address, timeout=SECONDS)
            form = browser.Form(page)
            page = session.post(form.address, data={"user_code": user_code}, timeout=SECONDS)
            browser.answer(page, session, **fields).raise_for_status()

    def assert_lists_containers(self, credential):
        name = f"sign-in-{uuid.uuid4()}"
        with BlobServiceClient(account_url=AZURITE, credential=credential) as service:
            container = service.create_container(name)
            self.addCleanup(service.close)
            self.assertIn(name, [one.name for one in service.list_containers()])
            container.delete_container()

    def assert_is(self, reply, name):
        """That Graph knows the holder of the token by this name."""
        headers = {"Authorization": f"Bearer {reply['access_token']}"}
        me = requests.get(f"{TENANT.url}/v1.0/me", headers=headers, timeout=SECONDS)
        self.assertEqual((me.status_code, me.json()["displayName"]), (200, name))

    def granted(self, reply):
        """MSAL's reply, if it is no error; without its secrets if it is one."""
        self.assertNotIn("error", reply, {name: reply.get(name) for name in ("error", "error_description")})
        return reply


class Msal(Case):
    def public(self, tenant=None):
        authority = f"{TENANT.url}/{tenant}" if tenant else AUTHORITY
        return msal.PublicClientApplication(TENANT.public_app, authority=authority, instance_discovery=False)

    def confidential(self, client_id, credential):
        return msal.ConfidentialClientApplication(
            client_id, client_credential=credential, authority=AUTHORITY, instance_discovery=False
        )

    def test_the_browser_signs_in(self):
        for tenant in (None, "organizations", "common"):
            with self.subTest(tenant):
                app = self.public(tenant)
                reply = self.granted(app.acquire_token_interactive([STORAGE], timeout=SECONDS))
                claims = reply["id_token_claims"]
                self.assertEqual(claims["preferred_username"], "ada@example.com")
                self.assertEqual(claims["tid"], TENANT.tenant_id)
                self.assert_lists_containers(Held(reply))
                (account,) = app.get_accounts()
                self.assertEqual(account["username"], "ada@example.com")
                self.assertEqual(account["home_account_id"], f"{claims['oid']}.{TENANT.tenant_id}")

    def test_one_sign_in_serves_every_resource_and_needs_no_second_page(self):
        app = self.public()
        first = self.granted(app.acquire_token_interactive([STORAGE], timeout=SECONDS))
        (account,) = app.get_accounts()
        kept = app.acquire_token_silent([STORAGE], account)
        self.assertTrue(kept["access_token"] == first["access_token"])
        graph = self.granted(app.acquire_token_silent([GRAPH], account))
        self.assert_is(graph, "Ada Example")
        vault = self.granted(app.acquire_token_silent([VAULT], account))
        address = f"{TENANT.url}/secrets?api-version=7.4"
        headers = {"Authorization": f"Bearer {vault['access_token']}"}
        self.assertEqual(requests.get(address, headers=headers, timeout=SECONDS).status_code, 200)
        renewed = self.granted(app.acquire_token_silent([STORAGE], account, force_refresh=True))
        self.assertFalse(renewed["access_token"] == first["access_token"])
        self.assertEqual(self.pages(), 1)

    def test_the_person_whom_the_app_names_is_preselected(self):
        app = self.public()
        reply = app.acquire_token_interactive([GRAPH], login_hint="bob@example.com", timeout=SECONDS)
        self.assert_is(self.granted(reply), "Bob Example")

    def test_the_person_chooses_somebody_else(self):
        self.answer(user="grace@partner.example")
        reply = self.public().acquire_token_interactive([GRAPH], prompt="select_account", timeout=SECONDS)
        self.assert_is(self.granted(reply), "Grace Guest")

    def test_the_person_declines(self):
        self.answer(answer="deny")
        reply = self.public().acquire_token_interactive([STORAGE], timeout=SECONDS)
        self.assertEqual(reply["error"], "access_denied")
        self.assertIn("AADSTS65004", reply["error_description"])

    def test_the_sign_in_fails(self):
        self.answer(answer="fail", error="53003")
        reply = self.public().acquire_token_interactive([STORAGE], timeout=SECONDS)
        self.assertEqual(reply["error"], "access_denied")
        self.assertIn("AADSTS53003", reply["error_description"])

    def test_a_resource_that_is_not_there(self):
        # The tenant answers without a page, so the browser has none to fill in.
        with requests.Session() as session:
            flow = self.public().initiate_auth_code_flow(
                ["https://nowhere.example/.default"], redirect_uri="http://localhost:1"
            )
            reply = session.get(flow["auth_uri"], allow_redirects=False, timeout=SECONDS)
        self.assertIn("AADSTS500011", reply.headers["location"])

    def test_a_device_code(self):
        app = self.public()
        flow = app.initiate_device_flow([STORAGE])
        self.assertEqual((flow["interval"], flow["expires_in"]), (5, 900))
        self.type_code(flow["verification_uri"], flow["user_code"], answer="sign_in")
        reply = self.granted(app.acquire_token_by_device_flow(flow))
        self.assert_lists_containers(Held(reply))
        (account,) = app.get_accounts()
        self.assert_is(self.granted(app.acquire_token_silent([GRAPH], account)), "Ada Example")

    def test_a_device_code_that_is_declined(self):
        app = self.public()
        flow = app.initiate_device_flow([STORAGE])
        self.type_code(flow["verification_uri"], flow["user_code"], answer="deny")
        reply = app.acquire_token_by_device_flow(flow)
        self.assertEqual(reply["error"], "authorization_declined")

    def test_a_device_code_that_nobody_typed_is_pending(self):
        app = self.public()
        flow = app.initiate_device_flow([STORAGE])
        reply = app.acquire_token_by_device_flow(flow, exit_condition=lambda flow: True)
        self.assertEqual((reply["error"], reply["error_codes"]), ("authorization_pending", [70016]))

    def test_a_secret(self):
        app = self.confidential(TENANT.secret_app, TENANT.secret)
        self.assert_lists_containers(Held(self.granted(app.acquire_token_for_client([STORAGE]))))

    def test_a_wrong_secret(self):
        app = self.confidential(TENANT.secret_app, "canary-secret")
        reply = app.acquire_token_for_client([STORAGE])
        self.assertEqual((reply["error"], reply["error_codes"]), ("invalid_client", [7000215]))
        self.assertNotIn("canary", reply["error_description"])

    def test_a_certificate_by_its_newer_and_its_older_thumbprint(self):
        der = ssl.PEM_cert_to_DER_cert(TENANT.public_certificate)
        newer = {"private_key": TENANT.private_key, "public_certificate": TENANT.public_certificate}
        older = {"private_key": TENANT.private_key, "thumbprint": hashlib.sha1(der).hexdigest()}
        for credential in (newer, older):
            app = self.confidential(TENANT.certificate_app, credential)
            # The assertion is kept for the next one.
            self.granted(app.acquire_token_for_client([VAULT]))
            self.assert_lists_containers(Held(self.granted(app.acquire_token_for_client([STORAGE]))))

    def test_a_certificate_of_another_app(self):
        app = self.confidential(
            TENANT.secret_app,
            {"private_key": TENANT.private_key, "public_certificate": TENANT.public_certificate},
        )
        reply = app.acquire_token_for_client([STORAGE])
        self.assertEqual((reply["error"], reply["error_codes"]), ("invalid_client", [700027]))

    def test_nobody_acts_on_behalf_of_somebody(self):
        app = self.confidential(TENANT.secret_app, TENANT.secret)
        reply = app.acquire_token_on_behalf_of("any token", [STORAGE])
        self.assertEqual((reply["error"], reply["error_codes"]), ("unsupported_grant_type", [70003]))

    def test_a_web_app_signs_a_person_in(self):
        for client_id, credential in (
            (TENANT.secret_app, TENANT.secret),
            (
                TENANT.certificate_app,
                {"private_key": TENANT.private_key, "public_certificate": TENANT.public_certificate},
            ),
        ):
            app = self.confidential(client_id, credential)
            flow = app.initiate_auth_code_flow([GRAPH], redirect_uri="http://localhost:5000")
            with requests.Session() as session:
                page = session.get(flow["auth_uri"], timeout=SECONDS)
                reply = browser.answer(page, session, answer="sign_in")
            answer = dict(parse_qsl(urlsplit(reply.headers["location"]).query))
            self.assert_is(self.granted(app.acquire_token_by_auth_code_flow(flow, answer)), "Ada Example")
            again = app.acquire_token_by_auth_code_flow(flow, answer)
            self.assertEqual((again["error"], again["error_codes"]), ("invalid_grant", [54005]))


class AzureIdentity(Case):
    def options(self, **more):
        return {"authority": TENANT.url, "disable_instance_discovery": True, **more}

    def credential(self, kind, client_id, *proof, **more):
        credential = kind(TENANT.tenant_id, client_id, *proof, **self.options(**more))
        self.addCleanup(credential.close)
        return credential

    def test_the_browser_signs_in_once_for_every_resource(self):
        # This credential asks for an account to be selected.
        self.answer(user="ada@example.com")
        credential = InteractiveBrowserCredential(
            tenant_id=TENANT.tenant_id, client_id=TENANT.public_app, timeout=SECONDS, **self.options()
        )
        self.addCleanup(credential.close)
        self.assert_lists_containers(credential)
        token = credential.get_token(GRAPH)
        self.assert_is({"access_token": token.token}, "Ada Example")
        self.assertEqual(self.pages(), 1)

    def test_the_person_declines(self):
        self.answer(answer="deny")
        credential = InteractiveBrowserCredential(
            tenant_id=TENANT.tenant_id, client_id=TENANT.public_app, timeout=SECONDS, **self.options()
        )
        self.addCleanup(credential.close)
        with self.assertRaisesRegex(ClientAuthenticationError, "AADSTS65004"):
            credential.get_token(STORAGE)

    def test_a_device_code(self):
        def prompt(address, user_code, expires_on):
            self.type_code(address, user_code, answer="sign_in")

        credential = DeviceCodeCredential(
            TENANT.public_app, tenant_id=TENANT.tenant_id, prompt_callback=prompt, **self.options()
        )
        self.addCleanup(credential.close)
        self.assert_lists_containers(credential)
        self.assert_is({"access_token": credential.get_token(GRAPH).token}, "Ada Example")

    def test_a_secret(self):
        self.assert_lists_containers(self.credential(ClientSecretCredential, TENANT.secret_app, TENANT.secret))

    def test_a_wrong_secret(self):
        credential = self.credential(ClientSecretCredential, TENANT.secret_app, "canary-secret")
        with self.assertRaisesRegex(ClientAuthenticationError, "AADSTS7000215") as raised:
            credential.get_token(STORAGE)
        self.assertNotIn("canary", str(raised.exception))

    def test_a_certificate(self):
        self.assert_lists_containers(
            self.credential(CertificateCredential, TENANT.certificate_app, str(TENANT.both))
        )


if __name__ == "__main__":
    # Python warns of each browser that is in the background.
    unittest.main(warnings="ignore")
