"""How far a hub reaches: python scale.py ENTRAR-HUB FILL, beside a PostgreSQL server of its own.

It fills stores with up to 100,000 people, has many of them ask through one node and two, and prints what that takes, each table
with its targets. Who asks, the tenant, the hubs and the database share this machine's cores. People are told apart by their cookies;
`users.c` stands for the machine's user directory. Of several runs the best counts: what disturbs them only ever makes them slower.
"""

import contextlib
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests/hub"))

from postgres import free_port, postgres  # noqa: E402

HUB, FILL = (os.path.abspath(path) for path in sys.argv[1:3])
TOOL, USERS = os.environ["BENCH_TOOL"], os.environ["BENCH_USERS"]
SHORT = bool(os.environ.get("BENCH_SHORT"))
STORES = (20, 200) if SHORT else (100, 10_000, 100_000)
RUNS = 1 if SHORT else 5
ROUNDS = 20 if SHORT else 1000  # requests of one connection, in each run
MANY = 100 if SHORT else 12_000  # requests of many connections
AGAIN = 10 if SHORT else 100  # people who ask again and again
AT_ONCE = 40 if SHORT else 1000
CONNECTIONS = (4,) if SHORT else (16, 256)
POOL = 16
SLOW = 200  # ms that a slow tenant takes
TENANT = "11111111-1111-1111-1111-111111111111"
CLIENT = "22222222-2222-2222-2222-222222222222"
TICKS = os.sysconf("SC_CLK_TCK")


def stop(process):
    process.terminate()
    process.wait(60)


@contextlib.contextmanager
def canned(delay):
    """A tenant that answers after so many milliseconds."""
    process = subprocess.Popen([TOOL, "canned", str(delay)], stdout=subprocess.PIPE, text=True)
    try:
        process.address = process.stdout.readline().strip()
        yield process
    finally:
        stop(process)


class Node:
    """A hub with a database, in a directory with its key, at the tenant of an address. To be used in `with`."""

    def __init__(self, directory, store, tenant):
        self.directory, self.port = Path(directory), free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.settings = self.directory / f"hub-{self.port}.toml"
        run, page = self.directory / f"run-{self.port}", free_port()
        run.mkdir()
        (self.directory / "secret").touch(0o600)
        (self.directory / "secret").write_text("no-secret")
        self.settings.write_text(f"""
public_url = "http://localhost:{page}"
[tenant]
id = "{TENANT}"
client_id = "{CLIENT}"
authority = "{tenant}"
secret_file = "secret"
refresh_tokens_work_once = false
[store]
{store.format(run=run)}
key_file = "hub.key"
[socket]
path = "{run}/hub.sock"
uids = ["1000000000-1999999999"]
[web]
listen = "127.0.0.1:{page}"
[rpc]
listen = "127.0.0.1:{self.port}"
[limits]
exchanges_per_minute = 100000000
""")

    def __enter__(self):
        variables = os.environ | {"LD_PRELOAD": USERS}
        command = [HUB, "--config", str(self.settings), "serve"]
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=variables)
        end = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 60).close()
                return self
            except OSError:
                if time.monotonic() > end or self.process.poll() is not None:
                    stop(self.process)
                    raise
                time.sleep(0.01)

    def __exit__(self, *_):
        stop(self.process)

    def memory(self, name="VmRSS"):
        """MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"{name}:\s+(\d+)", status)[1]) / 1024


class Store:
    """A store of so many people, in a file and on the server."""

    def __init__(self, directory, server, people):
        self.directory, self.people = Path(directory), people
        self.directory.mkdir()
        subprocess.run([HUB, "init", directory], check=True, stdout=subprocess.DEVNULL)
        self.file = f'path = "{directory}/hub.db"'

        settings = str(Node(directory, self.file, "http://127.0.0.1:1").settings)
        filled = subprocess.run([FILL, settings, str(people)], check=True, stdout=subprocess.PIPE, text=True)
        self.cookies = filled.stdout.splitlines()
        self.bytes = os.stat(f"{directory}/hub.db").st_size
        name = f"people_{people}"
        server.sql(f"CREATE DATABASE {name}")
        url, password = server.url.removesuffix("postgres") + name, server.tls / "password"
        started = time.perf_counter()
        subprocess.run([HUB, "--config", settings, "copy", "--to", url], check=True, stdout=subprocess.DEVNULL)
        self.copied = time.perf_counter() - started
        server.sql("VACUUM ANALYZE", name)
        self.bytes_there = int(server.sql(f"SELECT pg_database_size('{name}')"))
        common = f'\nconnections = {POOL}\njournal = "{{run}}/journal"'
        self.server = f'url = "{url}"{common}'
        tls = (server.tls / "url").read_text().removesuffix("postgres") + name
        self.tls = f'url = "{tls}"\npassword_file = "{password}"\nca_file = "{server.tls}/ca.pem"{common}'

    def sample(self, count, offset=0):
        """So many people's cookies in a file of this name; they lie all over the store."""
        path = self.directory / f"cookies-{count}-{offset}"
        count = min(count, self.people)
        step = self.people // count
        path.write_text("".join(f"{cookie}\n" for cookie in self.cookies[offset % step :: step][:count]))
        return str(path)


@dataclass
class Load:
    """What came of a load: milliseconds, requests a second, requests that failed, seconds, and who took how many of them."""

    median: float
    slow: float
    rate: float
    failed: int
    seconds: float
    cpu: dict


def ticks(pid):
    """What a process has taken, those included that it has started and outlived, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / TICKS


def spent(parts):
    taken = {}
    for name, pids in parts.items():
        for pid in pids:
            for each in [pid, *map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]:
                with contextlib.suppress(FileNotFoundError):
                    taken[name] = taken.get(name, 0) + ticks(each)
    busy = Path("/proc/stat").read_text().split("\n")[0].split()
    taken["all"] = sum(int(busy[number]) for number in (1, 2, 3, 6, 7)) / TICKS
    return taken


def used_by_children():
    """The seconds of those that have ended and were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def load(nodes, connections, requests, cookies, parts=None):
    """Has people ask. `parts` are process ids by name, whose shares are told."""
    before, of_children = spent(parts or {}), used_by_children()
    command = [TOOL, "load", "people", ",".join(node.address for node in nodes), str(connections), str(requests), cookies]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    said, why = process.communicate()
    if process.returncode:
        raise RuntimeError(why[:2000])
    cpu = {name: taken - before.get(name, 0) for name, taken in spent(parts or {}).items()}
    cpu["who asks"] = used_by_children() - of_children
    cpu["others"] = max(cpu.pop("all") - sum(cpu.values()), 0)
    median, slow, rate, failed, seconds = said.split()
    if int(failed):
        print(why[:300], file=sys.stderr)
    return Load(float(median) / 1e3, float(slow) / 1e3, float(rate), int(failed), float(seconds), cpu)


def directly(tenant):
    """The median of an exchange at the tenant by itself, in milliseconds."""
    words = [TOOL, "load", "token", tenant.address, "1", str(ROUNDS), "-"]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()[0]) / 1e3


def shares(cpu):
    whole = sum(cpu.values()) or 1
    return "  ".join(f"{name} {taken / whole:4.0%}" for name, taken in cpu.items())


def accounts(stores, tenant):
    """What an exchange takes, and what a node holds, by the number of accounts."""
    kinds = ("file", "server")
    with contextlib.ExitStack() as stack:
        nodes = {
            (store, kind): stack.enter_context(Node(store.directory, getattr(store, kind), tenant.address))
            for store in stores for kind in kinds
        }  # fmt: skip
        idle = {which: node.memory() for which, node in nodes.items()}
        medians = {which: [] for which in nodes}
        for run in range(RUNS + 1):
            for (store, kind), node in nodes.items():
                got = load([node], 1, ROUNDS, store.sample(AGAIN))
                if run:  # The first one is for warming up.
                    medians[store, kind].append(got.median)
        used = {which: node.memory() for which, node in nodes.items()}
        everybody = {}
        for (store, kind), node in nodes.items():
            got = load([node], 16, store.people, store.sample(store.people))
            everybody[store, kind] = got, node.memory("VmHWM")
    print(f"\nAccounts in the store (one node; medians of one connection, {min(AGAIN, *STORES)} people again and again)\n")
    print("              accounts   an exchange     to the first   memory: idle      used   everybody has asked once")
    for kind, name in zip(kinds, ("SQLite", "PostgreSQL")):
        for store in stores:
            which = store, kind
            best, first = min(medians[which]), min(medians[stores[0], kind])
            (got, most), failed = everybody[which], ""
            if got.failed:
                failed = f"   {got.failed} FAILED"
            print(
                f"  {name:<11} {store.people:>8}  {best:9.3f} ms      {best / first:6.2f}       {idle[which]:6.1f} MB {used[which]:6.1f} MB"
                f"   {most:6.1f} MB, {got.rate:5.0f}/s{failed}"
            )
    print("                                      (target: at most 1.2)   (target: at most 60 MB)\n")
    for store in stores:
        each = store.people or 1
        print(
            f"  {store.people:>7} people: {store.bytes / each / 1024:6.1f} kB each in the file, {store.bytes_there / each / 1024:6.1f} kB each in PostgreSQL;"
            f" copied from one to the other in {store.copied:.1f} s"
        )


def added(store, tenant):
    """What a node adds to the tenant's own time."""
    with contextlib.ExitStack() as stack:
        ways = {"SQLite": store.file, "PostgreSQL, by its socket": store.server, "PostgreSQL, by TLS": store.tls}
        nodes = {way: stack.enter_context(Node(store.directory, text, tenant.address)) for way, text in ways.items()}
        cookies, found = store.sample(AGAIN), {way: [] for way in ("tenant", *nodes)}
        for run in range(RUNS + 1):
            found["tenant"].append(directly(tenant))
            for way, node in nodes.items():
                got = load([node], 1, ROUNDS, cookies)
                if run:
                    found[way].append(got.median)
    alone = min(found.pop("tenant"))
    print(f"\nWhat a node adds to an exchange ({store.people} accounts, one connection; medians)\n")
    print(f"  {'the tenant alone':<28} {alone:7.3f} ms")
    for way, medians in found.items():
        target = "   (target: at most 2)" if "socket" in way else ""
        print(f"  {way:<28} {min(medians):7.3f} ms, so it adds {min(medians) - alone:6.3f} ms{target}")


def throughput(store, tenant, server):
    """How much one node and two bear."""
    print(f"\nMany connections ({store.people} accounts, {min(AT_ONCE, store.people)} different people; the best of {RUNS} runs)\n")
    print("                connections    median      99 %   a second   CPU a request: the hubs   PostgreSQL   who takes the cores")
    for name, text, count in (("SQLite", store.file, 1), ("PostgreSQL", store.server, 1), ("PostgreSQL", store.server, 2)):
        with contextlib.ExitStack() as stack:
            nodes = [stack.enter_context(Node(store.directory, text, tenant.address)) for _ in range(count)]
            parts = {"hubs": [node.process.pid for node in nodes], "PostgreSQL": [server.process.pid], "tenant": [tenant.pid]}
            cookies = store.sample(AT_ONCE)
            load(nodes, 16, AT_ONCE * count, cookies)
            for connections in CONNECTIONS:
                got = max((load(nodes, connections, MANY, cookies, parts) for _ in range(RUNS)), key=lambda got: got.rate)
                each = {part: taken / MANY * 1e3 for part, taken in got.cpu.items()}
                failed = f"   {got.failed} FAILED" if got.failed else ""
                print(
                    f"  {name:<10} x {count} {connections:>10}  {got.median:7.2f} ms {got.slow:7.1f} ms {got.rate:8.0f}/s"
                    f"              {each['hubs']:8.3f} ms  {each['PostgreSQL']:8.3f} ms   {shares(got.cpu)}{failed}"
                )


def at_once(store, tenant, server):
    """Many different people at one moment."""
    most = SLOW + 1.5 * AT_ONCE
    print(f"\n{AT_ONCE} different people at once, each for the first time, at a tenant that takes {SLOW} ms\n")
    print("                  failed   all are done after                       median   who takes the cores")
    for name, text, count in (("SQLite", store.file, 1), ("PostgreSQL", store.server, 1), ("PostgreSQL", store.server, 2)):
        found = []
        with contextlib.ExitStack() as stack:
            nodes = [stack.enter_context(Node(store.directory, text, tenant.address)) for _ in range(count)]
            parts = {"hubs": [node.process.pid for node in nodes], "PostgreSQL": [server.process.pid], "tenant": [tenant.pid]}
            for run in range(RUNS):
                # Others each time, whose session was not used for an hour.
                cookies = store.sample(AT_ONCE, next(at_once.offsets))
                found.append(load(nodes, AT_ONCE, AT_ONCE, cookies, parts))
        got, failed = min(found, key=lambda got: got.seconds), sum(got.failed for got in found)
        print(
            f"  {name:<10} x {count}  {failed:>6}   {got.seconds * 1e3:6.0f} ms (target: at most {most:.0f})   {got.median:8.0f} ms   {shares(got.cpu)}"
        )


at_once.offsets = iter(range(1, 1_000))


def equal(store, tenant):
    """Equal calls at two nodes."""
    def exchanges():
        with urllib.request.urlopen(f"{tenant.address}/exchanges", timeout=60) as reply:
            return int(reply.read())

    with contextlib.ExitStack() as stack:
        nodes = [stack.enter_context(Node(store.directory, store.server, tenant.address)) for _ in range(2)]
        cookies = store.sample(1)
        load(nodes, 2, 2, cookies)
        before = exchanges()
        got = load(nodes, 50, 50, cookies)
        asked = exchanges() - before
    print(f"\n50 equal calls over two nodes: {asked} exchanges (target: at most 2), {got.failed} failed")


def main():
    # A thousand people are a thousand connections.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    scratch = tempfile.mkdtemp(prefix="entrar-", dir="/tmp")
    try:
        with postgres() as server, canned(0) as fast, canned(SLOW) as slow:
            stores = [Store(f"{scratch}/{people}", server, people) for people in STORES]
            accounts(stores, fast)
            added(stores[-1], fast)
            throughput(stores[-1], fast, server)
            at_once(stores[-1], slow, server)
            equal(stores[-1], slow)
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
