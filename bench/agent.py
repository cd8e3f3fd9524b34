"""What the agent costs: from its start to its first answer, what it adds to an exchange, and what it holds in memory.

The tenant is the emulated one, which signs each token; it is asked by itself and through the agent, in turn.
"""

import os
import shutil
import statistics
import sys
import tempfile
import time

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/sign-in"))
from agent import RESOURCE, Agent, Tenant, sign_in  # noqa: E402

ENTRAR = sys.argv[1]
SHORT = bool(os.environ.get("BENCH_SHORT"))
STARTS = 2 if SHORT else 20
ROUNDS = 10 if SHORT else 1000


def milliseconds(task):
    started = time.perf_counter()
    task()
    return (time.perf_counter() - started) * 1e3


def main():
    scratch = tempfile.mkdtemp(prefix="entrar-", dir="/tmp")
    tenant, agent = Tenant(ENTRAR), None
    try:
        starts = []
        for number in range(STARTS):
            agent = Agent(ENTRAR, os.path.join(scratch, str(number)))
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
        tenant.end()
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


main()
