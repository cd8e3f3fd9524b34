"""What `make hub-demo` runs, as a user of this machine: the page that it says, the socket that it says, and nothing left.

Run as root, with what is to be tested in the environment, as test_hub.py is.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import unittest
import urllib.parse
from pathlib import Path

import requests
from machine import SECONDS, User, free_port

DEMO = Path(__file__).resolve().parents[2] / "hub/demo.sh"


def hidden(page, name):
    return re.search(f'name="{name}" value="([^"]*)"', page).group(1)


class Demo(unittest.TestCase):
    def setUp(self):
        self.user = self.enterContext(User("demo"))
        self.directory = Path(self.enterContext(tempfile.TemporaryDirectory(prefix="demo-")))
        self.directory.chmod(0o755)
        for program in (os.environ["ENTRAR"], os.environ["HUB"], DEMO):
            shutil.copy(program, self.directory)
            (self.directory / Path(program).name).chmod(0o755)
        self.port = free_port()

    def start(self):
        at = self.directory.joinpath
        process = subprocess.Popen(
            ["setpriv", f"--reuid={self.user.uid}", "--regid=65534", "--clear-groups"]
            + ["sh", at("demo.sh"), at("entrar"), at("entrar-hub")],
            env={"HOME": self.user.home, "PATH": "/usr/bin:/bin", "HUB_DEMO_PORT": str(self.port), "TMPDIR": "/tmp"},
            cwd=self.user.home,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait, SECONDS)
        self.addCleanup(process.terminate)
        watchdog = threading.Timer(SECONDS, process.kill)
        watchdog.start()
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("Ctrl-C ends it"):
                break
        watchdog.cancel()
        return process, "".join(said)

    def sign_in(self):
        """What a browser does. `requests` sends no cookie of https over http, as browsers do for this machine."""
        page = f"http://localhost:{self.port}"
        cookies = {}

        def ask(method, url, **form):
            headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
            own = url.startswith(page)
            if method == "POST" and own:
                headers |= {"Origin": page, "Sec-Fetch-Site": "same-origin"}
            reply = requests.request(
                method, url, data=form or None, headers=headers if own else {}, allow_redirects=False, timeout=SECONDS
            )
            for name, value in reply.cookies.items():
                cookies[name] = value
            return reply

        start = ask("GET", f"{page}/")
        leaving = ask("POST", f"{page}/sign-in", csrf=hidden(start.text, "csrf"))
        address = leaving.headers["Refresh"].split("url=", 1)[1]
        tenant = ask("GET", address)
        answer = ask(
            "POST",
            urllib.parse.urljoin(address, urllib.parse.urlsplit(address).path),
            request=hidden(tenant.text, "request"),
            answer="sign_in",
            user=f"{self.user.name}@example.com",
        )
        asked = ask("GET", answer.headers["Location"])
        question = ask("GET", page + asked.headers["Location"])
        done = ask("POST", f"{page}/confirm", csrf=hidden(question.text, "csrf"), answer="yes")
        self.assertEqual(done.status_code, 303, done.text)

    def token(self, path):
        body = json.dumps({"method": "delegated_azure_token", "params": ["https://graph.microsoft.com"]})
        curl = ["curl", "--silent", "--unix-socket", path, "--data", body, "http://localhost/delegated_azure_token"]
        return json.loads(self.user.run(curl, {}).stdout)

    def test_it_is_as_it_says_and_leaves_nothing(self):
        process, said = self.start()
        self.assertIn(f"Open http://localhost:{self.port} and sign in as {self.user.name}@example.com.", said)
        path = re.search("ENTRAR_HUB_SOCKET=(.*)", said).group(1)
        self.assertEqual(self.token(path)["oauth2_error"]["error"], "login_required")
        self.sign_in()
        self.assertTrue(self.token(path)["result"])
        command = re.search(r"(\S+ --config \S+) people", said).group(1).split()
        self.assertIn(self.user.name, self.user.run([*command, "people"], {}).stdout)
        process.terminate()
        process.wait(SECONDS)
        self.assertFalse(Path(path).parents[1].exists())
        with self.assertRaises(requests.ConnectionError):
            requests.get(f"http://localhost:{self.port}", timeout=SECONDS)

    def test_root_is_told_to_be_somebody(self):
        ran = subprocess.run(
            ["sh", DEMO, "entrar", "entrar-hub"], capture_output=True, text=True, timeout=SECONDS, check=False
        )
        self.assertEqual(ran.returncode, 1)
        self.assertIn("Run this as a user of your own", ran.stderr)


if __name__ == "__main__":
    unittest.main()
