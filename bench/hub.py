"""What the hub costs: from its start until it serves, what it adds to an exchange at 1, 16 and 256 connections, beside the
agent and the tenant itself, and what it holds in memory.

A hub serves no root: as root everything here runs as a user that is made for it and removed at the end. Connections ask for
16 resources; those that ask for the same at once share an exchange, at the hub as at the agent.
"""

import http.client
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

from agent import Agent, Socket, Tenant, ask, milliseconds, sign_in

ENTRAR, HUB = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
SHORT = bool(os.environ.get("BENCH_SHORT"))
STARTS = 2 if SHORT else 20
CONNECTIONS = (1, 16) if SHORT else (1, 16, 256)
ROUNDS = 20 if SHORT else 2000
NAMES = [
    "https://storage.azure.com", "https://vault.azure.net", "https://database.windows.net", "https://management.azure.com",
    "https://graph.microsoft.com", "https://cognitiveservices.azure.com",
    "499b84ac-1321-427f-aa17-267ca6975798", "2ff814a6-3304-4ab8-85cb-cd0e6f879c1d",
]  # fmt: skip
RESOURCES = [name + end for name in NAMES for end in ("", "/")]


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Hub:
    """A hub of this script's own, at this tenant."""

    def __init__(self, directory, tenant, port, secret):
        self.directory, self.port = directory, port
        self.socket = f"{directory}/run/hub.sock"
        os.makedirs(f"{directory}/run")
        subprocess.run([HUB, "init", directory], check=True, stdout=subprocess.DEVNULL)
        with open(os.open(f"{directory}/secret", os.O_CREAT | os.O_WRONLY, 0o600), "w") as file:
            file.write(secret)
        with open(f"{directory}/hub.toml", "w") as file:
            file.write(f"""
public_url = "http://localhost:{port}"
[tenant]
id = "{tenant.id}"
client_id = "{tenant.secret_app}"
authority = "{tenant.url}"
secret_file = "secret"
refresh_tokens_work_once = false
[store]
path = "hub.db"
key_file = "hub.key"
[socket]
path = "run/hub.sock"
uids = ["{os.getuid()}"]
[web]
listen = "127.0.0.1:{port}"
[people]
rule = "{{user}}@example.com"
tenants = ["{tenant.id}"]
[limits]
exchanges_per_minute = 100000000
exchanges_at_once = 1000
""")
        self.start()

    def start(self):
        started = time.perf_counter()
        self.process = subprocess.Popen([HUB, "--config", f"{self.directory}/hub.toml", "serve"], stderr=subprocess.DEVNULL)
        while True:
            try:
                # The page is the last that it serves.
                socket.create_connection(("127.0.0.1", self.port), 60).close()
                assert "result" in ask(Socket(self.socket), "/hub/me", "{}")
                break
            except OSError:
                if time.perf_counter() - started > 60 or self.process.poll() is not None:
                    raise
                time.sleep(0.0002)
        self.ready = time.perf_counter() - started

    def end(self):
        self.process.terminate()
        self.process.wait(60)

    def memory(self):
        with open(f"/proc/{self.process.pid}/status") as status:
            return int(re.search(r"VmRSS:\s+(\d+)", status.read())[1]) / 1024

    def sign_in(self):
        """What a browser does at the page."""
        page, cookies = f"http://localhost:{self.port}", {}

        def visit(method, url, form=None):
            parts = urllib.parse.urlsplit(url)
            connection = http.client.HTTPConnection(parts.netloc, timeout=60)
            headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
            if url.startswith(page):
                headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
                if method == "POST":
                    headers |= {"Origin": page, "Sec-Fetch-Site": "same-origin"}
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request(method, path, urllib.parse.urlencode(form) if form else None, headers)
            reply = connection.getresponse()
            text = reply.read().decode()
            for cookie in reply.headers.get_all("Set-Cookie") or []:
                name, value = cookie.split(";")[0].split("=", 1)
                cookies[name] = value
            return reply, text

        def csrf(text):
            return re.search('name="csrf" value="([^"]*)"', text)[1]

        _, start = visit("GET", f"{page}/")
        leaving, _ = visit("POST", f"{page}/sign-in", {"csrf": csrf(start)})
        answer, _ = visit("GET", leaving.headers["Refresh"].split("url=", 1)[1])
        asked, _ = visit("GET", answer.headers["Location"])
        _, question = visit("GET", page + asked.headers["Location"])
        done, _ = visit("POST", f"{page}/confirm", {"csrf": csrf(question), "answer": "yes"})
        assert done.status == 303, done.status


def through(path):
    """An exchange through a broker's socket, on a connection of its own."""

    def connect():
        connection = Socket(path)

        def exchange(resource):
            body = json.dumps({"method": "delegated_azure_token", "params": [resource]})
            reply = ask(connection, "/delegated_azure_token", body)
            assert reply["result"] is True, reply

        return exchange

    return connect


def directly(tenant, refresh_token):
    """The same at the tenant."""

    def connect():
        connection = http.client.HTTPConnection(tenant.url.removeprefix("http://"), timeout=60)

        def exchange(resource):
            body = urllib.parse.urlencode({
                "client_id": tenant.client_id, "grant_type": "refresh_token", "refresh_token": refresh_token,
                "scope": f"{resource}/.default offline_access",
            })  # fmt: skip
            path = f"/{tenant.id}/oauth2/v2.0/token"
            reply = ask(connection, path, body, "application/x-www-form-urlencoded")
            assert "access_token" in reply, reply

        return exchange

    return connect


def median(connect, connections):
    """Milliseconds of an exchange where so many connections ask all the time, and exchanges a second."""
    rounds = max(ROUNDS // connections, 4)
    took = []

    def run(number):
        exchange = connect()
        resource = RESOURCES[number % len(RESOURCES)]
        exchange(resource)
        barrier.wait()
        took.extend(milliseconds(lambda: exchange(resource)) for _ in range(rounds))

    barrier = threading.Barrier(connections + 1)
    threads = [threading.Thread(target=run, args=(number,)) for number in range(connections)]
    for thread in threads:
        thread.start()
    barrier.wait()
    started = time.perf_counter()
    for thread in threads:
        thread.join()
    assert len(took) == rounds * connections
    return statistics.median(took), len(took) / (time.perf_counter() - started)


def main():
    name = subprocess.run(["id", "-un"], check=True, capture_output=True, text=True).stdout.strip()
    scratch = tempfile.mkdtemp(prefix="entrar-", dir="/tmp")
    port = free_port()
    tenant = Tenant("--user", f"{name}@example.com", "--redirect-uri", f"http://localhost:{port}/callback")
    hub = agent = None
    try:
        hub = Hub(f"{scratch}/hub", tenant, port, tenant.secret)
        ready = [hub.ready * 1e3]
        for _ in range(STARTS - 1):
            hub.end()
            hub.start()
            ready.append(hub.ready * 1e3)
        idle = hub.memory()
        hub.sign_in()
        agent = Agent(f"{scratch}/agent")
        sign_in(agent, tenant)
        ways = {
            "tenant": directly(tenant, tenant.refresh_token()),
            "agent": through(agent.path),
            "hub": through(hub.socket),
        }
        rows = [(count, {way: median(connect, count) for way, connect in ways.items()}) for count in CONNECTIONS]
        used = hub.memory()
    finally:
        for process in (hub, agent):
            if process:
                process.end()
        tenant.process.terminate()
        tenant.process.wait(60)
        shutil.rmtree(scratch)
    print(f"\nThe hub, with SQLite ({STARTS} starts; exchanges: medians, and how many a second)\n")
    print(f"  from its start until it serves       {statistics.median(ready):8.2f} ms   (target: at most 100)")
    print(f"  resident memory, idle                {idle:8.2f} MB   (target: at most 15)")
    print(f"  after all these exchanges            {used:8.2f} MB\n")
    print("  connections      tenant             agent               hub        the hub adds")
    for count, row in rows:
        cells = "  ".join(f"{row[way][0]:7.2f} ms {row[way][1]:6.0f}/s" for way in ways)
        added = row["hub"][0] - row["tenant"][0]
        target = "   (target: at most 1)" if count == 1 else ""
        print(f"  {count:>11}  {cells}  {added:8.2f} ms{target}")


def as_somebody():
    """Runs this script as a user who is made for it."""
    name = f"bench-{os.getpid()}"
    subprocess.run(["useradd", "--no-create-home", "--no-user-group", name], check=True)
    place = tempfile.mkdtemp(prefix="entrar-bench-", dir="/tmp")
    try:
        os.chmod(place, 0o755)
        here = os.path.dirname(os.path.abspath(__file__))
        for file in (ENTRAR, HUB, f"{here}/hub.py", f"{here}/agent.py"):
            shutil.copy(file, place)
        uid = subprocess.run(["id", "-u", name], check=True, capture_output=True, text=True).stdout.strip()
        words = ["setpriv", f"--reuid={uid}", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-B", "hub.py"]
        programs = [os.path.join(place, os.path.basename(program)) for program in (ENTRAR, HUB)]
        subprocess.run([*words, *programs], cwd=place, check=True)
    finally:
        shutil.rmtree(place)
        subprocess.run(["userdel", name], check=False)


if __name__ == "__main__":
    as_somebody() if os.getuid() == 0 else main()
