"""Two hubs on one database of PostgreSQL's: what begins at one goes on at the other, and what ends at one has ended.

Run as root, with what is to be tested in the environment, as test_hub.py is.
"""

import contextlib
import http.cookiejar
import json
import os
import re
import shutil
import signal
import socket
import socketserver
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

from machine import Machine, held_port
from postgres import postgres
from users import SECONDS, Started, User, as_user

STORAGE = "https://storage.azure.com"
# All that the emulated tenant knows: with a slash each is another audience.
KNOWN = ["https://vault.azure.net", "https://database.windows.net", "https://management.azure.com", "https://graph.microsoft.com"]
KNOWN += [STORAGE, "499b84ac-1321-427f-aa17-267ca6975798", "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d"]
KNOWN += ["https://cognitiveservices.azure.com"]
RESOURCES = [f"{resource}{slash}" for resource in KNOWN for slash in ("", "/")]
LIMITS = """
[limits]
exchanges_per_minute = 1000
exchanges_at_once = 100
[health]
listen = "127.0.0.1:{health}"
"""
# Asks for a token at each of these sockets for each of these resources, all at once, and says when all have asked: the replies
# in the same order.
ASK = """
import http.client, io, json, socket, sys, threading
asked = json.load(sys.stdin)
start, sent = threading.Barrier(len(asked)), threading.Barrier(len(asked) + 1)
replies = [None] * len(asked)
def ask(number, path, resource):
    connection = http.client.HTTPConnection("localhost", timeout=100)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(100)
    connection.sock.connect(path)
    body = json.dumps({"method": "delegated_azure_token", "params": [resource]})
    start.wait(60)
    connection.request("POST", "/delegated_azure_token", body, {"Content-Type": "application/json"})
    sent.wait(60)
    replies[number] = json.load(connection.getresponse())
threads = [threading.Thread(target=ask, args=(number, *one)) for number, one in enumerate(asked)]
for thread in threads: thread.start()
sent.wait(60)
print("sent", flush=True)
for thread in threads: thread.join()
print(json.dumps(replies))
"""


class Relay(socketserver.ThreadingTCPServer):
    """What stands before the hubs: each connection goes to the next one of those in `targets`. To be used in `with`."""

    daemon_threads = True

    def __init__(self):
        # `served` is the targets that connections went to.
        self.targets, self.served = [], []
        super().__init__(("127.0.0.1", 0), None)
        self.page = f"https://localhost:{self.server_address[1]}"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()

    def finish_request(self, request, _):
        target = self.targets[len(self.served) % len(self.targets)]
        self.served.append(target)
        with socket.create_connection(target, SECONDS) as other:
            back = threading.Thread(target=self._pass, args=(other, request), daemon=True)
            back.start()
            self._pass(request, other)
            back.join(SECONDS)

    @staticmethod
    def _pass(source, sink):
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


class Page:
    def __init__(self, reply):
        self.url, self.status, self.headers = reply.geturl(), reply.status, reply.headers
        self.text = reply.read().decode()

    def hidden(self, name):
        return re.search(f'name="{name}" value="([^"]*)"', self.text).group(1)

    @property
    def heading(self):
        return re.search("<h1>(.*?)</h1>", self.text).group(1)


class Window:
    """A person's browser, which opens a new connection for each request."""

    def __init__(self, machine):
        self.page = machine.page
        self.opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=machine.ca)),
            urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()),
        )

    def open(self, address, form=None):
        """The page that an address leads to."""
        while True:
            body = None if form is None else urllib.parse.urlencode(form).encode()
            headers = {"Origin": self.page} if form and address.startswith(self.page) else {}
            try:
                page = Page(self.opener.open(urllib.request.Request(address, body, headers), timeout=SECONDS))
            except urllib.error.HTTPError as refused:
                page = Page(refused)
            if "Refresh" not in page.headers:
                return page
            address, form = page.headers["Refresh"].partition("url=")[2], None

    def press(self, page, path, **fields):
        return self.open(f"{self.page}{path}", {"csrf": page.hidden("csrf"), **fields})

    def sign_in(self, user):
        """As far as the page behind the tenant's."""
        tenant = self.press(self.open(f"{self.page}/"), "/sign-in")
        fields = {"request": tenant.hidden("request"), "answer": "sign_in", "user": user.upn}
        return self.open(tenant.url, fields)


class Case(unittest.TestCase):
    """The tests of a class run in the order of their names, on two hubs."""

    @classmethod
    def set_up(cls, users, *tenant, works_once=False, grace=60):
        cls.postgres = cls.enterClassContext(postgres())
        cls.relay = cls.enterClassContext(Relay())
        cls.users = [cls.enterClassContext(User(name)) for name in users]
        programs = (os.environ["ENTRAR"], os.environ["HUB"], os.environ["LIBRARY"], cls.users)
        store = f'url = "{cls.postgres.url}"\nconnections = 4\njournal = "../lib/journal"\ngrace_seconds = {grace}'
        common = {"store": store, "of_tenant": f"refresh_tokens_work_once = {json.dumps(works_once)}"}
        cls.nodes, options = [], {"page": cls.relay.page, "tenant": tenant}
        for _ in range(2):
            health = cls.free_port()
            machine = Machine(*programs, more=LIMITS.format(health=health), **common, **options)
            machine.health = f"http://127.0.0.1:{health}"
            cls.nodes.append(cls.enterClassContext(machine))
            options = {"beside": cls.nodes[0]}
        cls.relay.targets = [node.ports[0].getsockname() for node in cls.nodes]

    @staticmethod
    def free_port():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            return listener.getsockname()[1]

    def signed_in(self, user):
        """A browser whose person has signed in for the first time."""
        window = Window(self.nodes[0])
        question = window.sign_in(user)
        self.assertEqual(question.heading, "Is this you?", question.text)
        account = window.press(question, "/confirm", answer="yes")
        self.assertEqual(account.heading, "Your Azure sign-in")
        return window

    @contextlib.contextmanager
    def asking(self, user, *asked):
        """A process of a user's that asks all at once: each at a node for a resource."""
        asked = json.dumps([(str(node.socket), resource) for node, resource in asked])
        with user.start(["/usr/bin/python3", "-c", ASK.replace("sys.stdin", f"io.StringIO({asked!r})")], {}) as process:
            yield process

    def ask(self, user, *asked):
        """The replies."""
        with self.asking(user, *asked) as process:
            said, code = process.end()
        self.assertEqual(code, 0, said)
        return json.loads(said.splitlines()[-1])

    def assert_granted(self, user, *asked):
        replies = self.ask(user, *asked)
        self.assertEqual([reply for reply in replies if reply["result"] is not True], [])

    def get(self, address):
        try:
            with urllib.request.urlopen(address, timeout=SECONDS) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()

    def sign_in_again(self, user):
        account = Window(self.nodes[0]).sign_in(user)
        self.assertEqual(account.heading, "Your Azure sign-in", account.text)

    def exchanges(self, node):
        """How many exchanges a node has made."""
        _, metrics = self.get(f"{node.health}/metrics")
        return sum(int(number) for number in re.findall(r"(?m)^entrar_hub_exchanges_total\{.*\} (\d+)$", metrics))

    def cookie(self, node, user):
        """The cookie of a new session of a user's, opened at a node."""
        request = ["curl", "-sS", "--unix-socket", str(node.socket), "--json", "{}", "http://localhost/hub/open_session"]
        ran = user.run(request, {})
        return json.loads(ran.stdout)["result"]["cookie"]

    def by_cookie(self, node, cookie):
        """The status of what a node says to who holds a cookie."""
        body = json.dumps({"method": "delegated_azure_token", "params": [STORAGE]}).encode()
        headers = {"X-RS-Session-Server-RPC-Cookie": cookie, "Content-Type": "application/json"}
        request = urllib.request.Request(f"http://{node.rpc}/delegated_azure_token", body, headers)
        status, said = self.get(request)
        return json.loads(said)["result"] if status == 200 else status


class Shared(Case):
    """What one hub does holds at the other."""

    @classmethod
    def setUpClass(cls):
        cls.set_up(["ada", "bob"])
        cls.ada, cls.bob = cls.users
        cls.one, cls.other = cls.nodes

    def test_1_a_sign_in_that_is_begun_at_one_ends_at_the_other(self):
        for user in self.users:
            begun = len(self.relay.served)
            self.signed_in(user)
            served = self.relay.served[begun:]
            # The page, its button, the answer, the page that it leads to, and so on: each at another node than the last.
            self.assertGreaterEqual(len(served), 4)
            for before, after in zip(served, served[1:]):
                self.assertNotEqual(before, after)
            for node in self.nodes:
                self.assert_granted(user, (node, STORAGE))
        for node in self.nodes:
            self.assertEqual({row["user"] for row in node.rows("people")}, {user.name for user in self.users})

    def test_2_a_session_is_good_everywhere_until_it_is_ended_anywhere(self):
        for one, other in (self.nodes, self.nodes[::-1]):
            cookie = self.cookie(one, self.ada)
            for node in (other, one):
                self.assertIs(self.by_cookie(node, cookie), True)
            one.hub("revoke", self.ada.name)
            for node in (other, one):
                self.assertEqual(self.by_cookie(node, cookie), 401)
                (reply,) = self.ask(self.ada, (node, STORAGE))
                self.assertEqual(reply["oauth2_error"]["error"], "login_required", reply)
            self.assert_granted(self.bob, (other, STORAGE))
            self.sign_in_again(self.ada)

    def test_3_fifty_equal_calls_make_at_most_one_exchange_a_node(self):
        before = [self.exchanges(node) for node in self.nodes]
        asked = [(node, "https://vault.azure.net") for node in self.nodes for _ in range(25)]
        tenant = self.one.tenant.process
        # Nothing is answered before all have asked.
        tenant.send_signal(signal.SIGSTOP)
        try:
            with self.asking(self.ada, *asked) as process:
                process.until("sent")
                time.sleep(1)
                tenant.send_signal(signal.SIGCONT)
                said, code = process.end()
        finally:
            tenant.send_signal(signal.SIGCONT)
        self.assertEqual(code, 0, said)
        self.assertEqual({reply["result"] for reply in json.loads(said.splitlines()[-1])}, {True})
        made = [self.exchanges(node) - count for node, count in zip(self.nodes, before)]
        self.assertEqual(made, [1, 1])

    def test_4_a_node_with_another_key_refuses_to_start(self):
        place = self.other.directory / "etc"
        text = (place / "hub.toml").read_text()
        with tempfile.TemporaryDirectory(dir=place) as directory:
            os.chown(directory, self.other.user.uid, -1)
            self.other.hub("init", directory)
            settings = place / "other.toml"
            settings.write_text(text.replace('"hub.key"', f'"{directory}/hub.key"'))
            settings.chmod(0o640)
            os.chown(settings, self.other.user.uid, -1)
            command = as_user(self.other.user.uid, [self.other.directory / "entrar-hub", "--config", settings, "serve"])
            ran = subprocess.run(command, env={}, capture_output=True, text=True, timeout=SECONDS, check=False, cwd="/")
        self.assertNotEqual(ran.returncode, 0)
        self.assertIn("the key file holds other keys", ran.stderr)
        # Who has started before serves on.
        self.assert_granted(self.ada, (self.other, STORAGE))

    def test_5_a_node_that_is_killed_leaves_the_other_with_everything(self):
        cookie = self.cookie(self.one, self.ada)
        tenant = self.one.tenant.process
        tenant.send_signal(signal.SIGSTOP)
        try:
            with self.asking(self.ada, *[(self.one, resource) for resource in RESOURCES]) as process:
                process.until("sent")
                time.sleep(1)
                # In the middle of an exchange.
                self.addCleanup(self.one.start)
                self.addCleanup(self.one.process.__exit__)
                os.kill(self.one.process.process.pid, signal.SIGKILL)
                process.end()
        finally:
            tenant.send_signal(signal.SIGCONT)
        self.relay.targets = [self.other.ports[0].getsockname()]
        self.assertIs(self.by_cookie(self.other, cookie), True)
        for user in self.users:
            self.assert_granted(user, (self.other, STORAGE))
        self.sign_in_again(self.bob)

    def test_6_and_comes_back_to_all_that_has_happened_meanwhile(self):
        for user in self.users:
            self.assert_granted(user, (self.one, STORAGE))
        rows = [node.rows("audit") for node in self.nodes]
        self.assertEqual(*rows)
        events = [row["event"] for row in rows[0]]
        self.assertEqual(events.count("bind"), len(self.users))


class Away(Case):
    """The database goes away and comes back."""

    GRACE = 20

    @classmethod
    def setUpClass(cls):
        cls.set_up(["ada", "bob"], grace=cls.GRACE)
        cls.ada, cls.bob = cls.users

    def until(self, what, wanted):
        """Waits until it says what is wanted."""
        end = time.monotonic() + SECONDS
        while (said := what()) != wanted:
            self.assertLess(time.monotonic(), end, said)
            time.sleep(0.1)

    def ready(self, node):
        status, said = self.get(f"{node.health}/health/ready")
        self.assertEqual(said.startswith("degraded: the database is away since "), status == 503, said)
        return status

    def error(self, user, node):
        (reply,) = self.ask(user, (node, STORAGE))
        return reply.get("oauth2_error", {}).get("error")

    def test_1_people_seen_lately_go_on_and_what_they_were_granted_is_kept(self):
        self.signed_in(self.ada)
        cookie = self.cookie(self.nodes[0], self.ada)
        # Whom a hub has seen too long ago, or not at all, is not one of them.
        self.assertEqual(self.error(self.bob, self.nodes[0]), "login_required")
        for node in self.nodes:
            self.assert_granted(self.ada, (node, STORAGE))
            self.assertIs(self.by_cookie(node, cookie), True)
            self.assertEqual(self.ready(node), 200)
        before = self.versions()
        rows = len(self.rows())
        self.postgres.stop()
        for node in self.nodes:
            self.assert_granted(self.ada, (node, STORAGE))
            self.assertIs(self.by_cookie(node, cookie), True)
            self.assertEqual(self.error(self.bob, node), "temporarily_unavailable")
            self.until(lambda node=node: self.ready(node), 503)
            self.assertEqual(self.get(f"{node.health}/health/live"), (200, "alive\n"))
        self.assertTrue(self.postgres.start())
        for node in self.nodes:
            self.until(lambda node=node: self.ready(node), 200)
        # One of the two newer refresh tokens comes first, and a row of each caller's.
        self.until(lambda: len(self.rows()), rows + 4)
        self.assertNotEqual(self.versions(), before)
        for node in self.nodes:
            self.assert_granted(self.ada, (node, STORAGE))

    def test_2_after_the_grace_nobody_goes_on(self):
        for node in self.nodes:
            self.assert_granted(self.ada, (node, STORAGE))
        self.postgres.stop()
        begun = time.monotonic()
        for node in self.nodes:
            self.until(lambda node=node: self.error(self.ada, node), "temporarily_unavailable")
        self.assertGreater(time.monotonic() - begun, self.GRACE - 5)
        self.assertTrue(self.postgres.start())
        for node in self.nodes:
            self.until(lambda node=node: self.error(self.ada, node), None)

    def test_3_a_server_that_is_silent_keeps_nobody_waiting_for_long(self):
        for node in self.nodes:
            self.assert_granted(self.ada, (node, STORAGE))
        self.postgres.signal(signal.SIGSTOP)
        try:
            self.assert_granted(self.ada, *[(node, STORAGE) for node in self.nodes])
            for node in self.nodes:
                self.until(lambda node=node: self.ready(node), 503)
        finally:
            self.postgres.signal(signal.SIGCONT)
        for node in self.nodes:
            self.until(lambda node=node: self.ready(node), 200)
            self.assert_granted(self.ada, (node, STORAGE))

    def versions(self):
        return self.postgres.sql("SELECT version FROM refresh_tokens")

    def rows(self):
        return self.postgres.sql("SELECT id FROM audit WHERE event = 'token' AND result = 'ok'").split()


class Moved(Case):
    """A hub whose database goes from its file to a server, over TCP."""

    @classmethod
    def setUpClass(cls):
        cls.postgres = cls.enterClassContext(postgres())
        cls.users = [cls.enterClassContext(User("ada"))]
        programs = (os.environ["ENTRAR"], os.environ["HUB"], os.environ["LIBRARY"], cls.users)
        cls.nodes = [cls.enterClassContext(Machine(*programs))]

    def test_nobody_has_to_sign_in_again(self):
        (ada,), (node,) = self.users, self.nodes
        self.signed_in(ada)
        cookie = self.cookie(node, ada)
        self.assertIs(self.by_cookie(node, cookie), True)
        before = node.rows("audit")
        etc = node.directory / "etc"
        for name in ("password", "ca.pem"):
            shutil.copy(self.postgres.tls / name, etc / name)
            shutil.chown(etc / name, node.user.uid)
        url = (self.postgres.tls / "url").read_text()
        command = ["copy", "--to", url, "--password-file", etc / "password", "--ca-file", etc / "ca.pem"]
        with self.assertRaisesRegex(AssertionError, "the hub serves .* stop it first"):
            node.hub(*command)
        node.stop()
        try:
            said = node.hub(*command)
            self.assertRegex(said, rf"audit +{len(before)} rows the same on both sides")
            settings = "\n".join(re.findall(r"^  (\w+ = .*)$", said, re.MULTILINE))
            hub_toml = etc / "hub.toml"
            hub_toml.write_text(hub_toml.read_text().replace(f'path = "../lib/hub.db"', settings))
            (node.directory / "lib/hub.db").unlink()
            self.assertIn("ok       database     the database postgres at localhost", node.hub("check"))
        finally:
            node.start()
        self.assertIs(self.by_cookie(node, cookie), True)
        self.assert_granted(ada, (node, STORAGE))
        rows = node.rows("audit")
        self.assertEqual(rows[: len(before)], before)
        self.assertRegex(rows[len(before)]["detail"], "copied from .*hub.db, by uid")
        with self.assertRaisesRegex(AssertionError, "hub.toml names a server already"):
            node.hub(*command)


class WorksOnce(Case):
    """At a tenant whose refresh tokens work once."""

    @classmethod
    def setUpClass(cls):
        cls.set_up(["ada"], "--one-time-refresh-tokens", works_once=True)
        (cls.ada,) = cls.users

    def test_forty_calls_for_different_resources_all_get_their_tokens(self):
        self.signed_in(self.ada)
        asked = [(node, resource) for resource in RESOURCES for node in self.nodes]
        asked += asked[:8]
        for _ in range(2):
            before = [self.exchanges(node) for node in self.nodes]
            self.assert_granted(self.ada, *asked)
            for node, count in zip(self.nodes, before):
                self.assertGreaterEqual(self.exchanges(node) - count, len(RESOURCES))


if __name__ == "__main__":
    unittest.main()
