"""A session of entrar-hub for each job on a node, which the prolog opens and the epilog ends. Fill in the two settings."""

import os
import platform
import sys
from pathlib import Path

from entrar_launcher import Launcher

# The hub's page. The key counts from the network of the nodes: entrar-hub launcher add slurm --network 10.1.0.0/16 --users …
HUB = "https://hub.example.com"
KEY_FILE = "/etc/slurm/entrar-hub.key"
# Where task-prolog finds the variables.
DIRECTORY = "/run/entrar-jobs"


def open_session():
    job = os.environ["SLURM_JOB_ID"]
    variables, _ = _launcher().open(os.environ["SLURM_JOB_USER"], job, f"Slurm job {job} on {platform.node()}")
    # Root's, in a directory of root's: task-prolog reads it as the user. It holds no secret.
    with open(f"{DIRECTORY}/{job}.environment", "w", encoding="ascii") as file:
        os.fchmod(file.fileno(), 0o644)
        file.writelines(f"export {name}={value}\n" for name, value in variables.items())


def end_session():
    job = os.environ["SLURM_JOB_ID"]
    Path(f"{DIRECTORY}/{job}.environment").unlink(missing_ok=True)
    _launcher().end(job)


def _launcher():
    return Launcher(KEY_FILE, HUB, DIRECTORY)


def run(what):
    """Slurm drains a node whose prolog or epilog fails: without tokens a job runs all the same, and slurmd's log says why."""
    try:
        what()
    except Exception as error:  # whatever it is, the node stays in use
        print(f"entrar-hub: job {os.environ.get('SLURM_JOB_ID')} has no Azure tokens, or keeps them: {error!r}", file=sys.stderr)
