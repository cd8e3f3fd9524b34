"""Runs a command in a session of a real agent, in which a person has signed in to an emulated tenant, and ends as the command
ended.

usage: session.py ENTRAR COMMAND [ARGUMENT]...

The command finds the session by the variables that `entrar env --git` sets, and the tenant's address in
ENTRAR_DEMO_GRAPH.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile

from agent import Agent, Tenant, sign_in


def variables(entrar, directory):
    """What a shell has once it has run the commands of `entrar env`."""
    environment = {**os.environ, "ENTRAR_RUNTIME_DIR": directory}
    script = 'eval "$("$1" env --git --shell sh)"; env -0'
    shell = subprocess.run(
        ["sh", "-c", script, "sh", entrar], env=environment, check=True, stdout=subprocess.PIPE, timeout=60
    )
    lines = shell.stdout.decode().rstrip("\0").split("\0")
    return dict(re.match("([^=]*)=(.*)", line, re.S).groups() for line in lines)


def main():
    entrar, *command = sys.argv[1:]
    entrar = os.path.abspath(entrar)
    # A socket's path has to be short.
    scratch = tempfile.mkdtemp(prefix="entrar-", dir="/tmp")
    tenant, agent = Tenant(entrar), None
    try:
        agent = Agent(entrar, os.path.join(scratch, "agent"))
        sign_in(agent, tenant)
        session = variables(entrar, agent.directory) | {"ENTRAR_DEMO_GRAPH": tenant.url}
        return subprocess.run(command, env=session, check=False).returncode
    finally:
        if agent:
            agent.end()
        tenant.end()
        shutil.rmtree(scratch)


sys.exit(main())
