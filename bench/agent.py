"""What the agent costs: from its start to its first answer, what it adds to an exchange, and what it holds in memory.

The tenant is the emulated one, which signs each token; it is asked by itself and through the agent, in turn.
"""

import base64
import hashlib
import http.client
import http.cookiejar
import json
import os
import re
import secrets
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

ENTRAR = sys.argv[1]
SHORT = bool(os.environ.get("BENCH_SHORT"))
STARTS = 2 if SHORT else 20
ROUNDS = 10 if SHORT else 1000
RESOURCE = "https://storage.azure.com"


class Socket(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


def ask(connection, path, body, kind="application/json"):
    connection.request("POST", path, body, {"Content-Type": kind})
    return json.loads(connection.getresponse().read())


class Agent:
    """An agent of this script's own."""

    def __init__(self, directory):
        self.path = os.path.join(directory, "agent.sock")
        started = time.perf_counter()
        variables = {"PATH": os.environ["PATH"], "ENTRAR_RUNTIME_DIR": directory}
        self.process = subprocess.Popen([ENTRAR, "agent", "run"], env=variables)
        while True:
            try:
                self.connection = Socket(self.path)
                ask(self.connection, "/agent/status", "{}")
                break
            except OSError:
                self.connection.close()
                if time.perf_counter() - started > 60 or self.process.poll() is not None:
                    raise
                time.sleep(0.0002)
        self.first_answer = time.perf_counter() - started

    def memory(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) / 1024

    def request(self, name, **parameters):
        return ask(self.connection, f"/agent/{name}", json.dumps(parameters))["result"]

    def token(self):
        body = json.dumps({"method": "delegated_azure_token", "params": [RESOURCE]})
        assert ask(self.connection, "/delegated_azure_token", body)["result"] is True

    def end(self):
        self.process.terminate()
        self.process.wait(60)


class Tenant:
    def __init__(self, *options):
        words = [ENTRAR, "emulator", "--auto-consent", *options]
        self.process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        call = r'azure_sign_in\(tenant = "(.*)", client_id = "(.*)", authority = "(.*)"\)'
        for line in self.process.stdout:
            if "client secret (emulated): " in line:
                self.secret_app, self.secret = line.split()[0], line.split()[-1]
            if found := re.search(call, line):
                self.id, self.client_id, self.url = found.groups()
                break
        self.connection = http.client.HTTPConnection(self.url.removeprefix("http://"), timeout=60)

    def post(self, **form):
        body = urllib.parse.urlencode({"client_id": self.client_id, **form})
        path = f"/{self.id}/oauth2/v2.0/token"
        return ask(self.connection, path, body, "application/x-www-form-urlencoded")

    def refresh_token(self):
        """That of a sign-in of this script's own."""
        verifier = secrets.token_urlsafe(32)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
        scope = f"openid offline_access {RESOURCE}/.default"
        redirect = "http://localhost"
        query = urllib.parse.urlencode({
            "client_id": self.client_id, "response_type": "code", "redirect_uri": redirect, "scope": scope,
            "state": "s", "code_challenge": challenge.decode().rstrip("="), "code_challenge_method": "S256",
        })  # fmt: skip
        self.connection.request("GET", f"/{self.id}/oauth2/v2.0/authorize?{query}")
        reply = self.connection.getresponse()
        reply.read()
        answer = urllib.parse.urlsplit(reply.headers["Location"]).query
        code = urllib.parse.parse_qs(answer)["code"][0]
        grant = {"grant_type": "authorization_code", "redirect_uri": redirect}
        return self.post(**grant, code=code, code_verifier=verifier)["refresh_token"]


def sign_in(agent, tenant):
    attempt = agent.request(
        "begin", authority=tenant.url, tenant=tenant.id, client_id=tenant.client_id, credential="public",
        method="browser", login_hint=None, select_account=False,
    )  # fmt: skip
    cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies).open(attempt["address"])
    assert agent.request("wait", id=attempt["id"], seconds=20)["state"] == "signed_in"


def milliseconds(task):
    started = time.perf_counter()
    task()
    return (time.perf_counter() - started) * 1e3


def main():
    scratch = tempfile.mkdtemp(prefix="entrar-", dir="/tmp")
    tenant, agent = Tenant(), None
    try:
        starts = []
        for number in range(STARTS):
            agent = Agent(os.path.join(scratch, str(number)))
            starts.append(agent.first_answer * 1e3)
            idle = agent.memory()
            if number < STARTS - 1:
                agent.end()
        sign_in(agent, tenant)
        signed_in = agent.memory()
        refresh_token = tenant.refresh_token()
        scope = f"{RESOURCE}/.default offline_access"
        grant = {"grant_type": "refresh_token", "refresh_token": refresh_token, "scope": scope}
        direct, through = [], []
        for _ in range(ROUNDS):
            direct.append(milliseconds(lambda: tenant.post(**grant)["access_token"]))
            through.append(milliseconds(agent.token))
        added = statistics.median(through) - statistics.median(direct)
        used = agent.memory()
    finally:
        if agent:
            agent.end()
        tenant.process.terminate()
        tenant.process.wait(60)
        shutil.rmtree(scratch)
    print(f"\nThe agent ({STARTS} starts, {ROUNDS} exchanges each way, medians)\n")
    for what, figure, unit, target in [
        ("from its start to its first answer", statistics.median(starts), "ms", 50),
        ("an exchange at the emulated tenant", statistics.median(direct), "ms", None),
        ("the same through the agent", statistics.median(through), "ms", None),
        ("so the agent adds", added, "ms", 0.2),
        ("resident memory, nobody signed in", idle, "MB", 8),
        ("signed in", signed_in, "MB", None),
        ("after all these exchanges", used, "MB", None),
    ]:
        wanted = f"   (target: at most {target})" if target else ""
        print(f"  {what:<36} {figure:8.2f} {unit}{wanted}")


if __name__ == "__main__":
    main()
