"""A session of entrar-hub for each server that JupyterHub starts: R, Python and git in it get Azure tokens as the person whose
server it is. For a JupyterHub that runs as root and starts servers on the machine of the hub. In jupyterhub_config.py:

    import sys
    sys.path.insert(0, "/usr/share/entrar-hub")
    from entrar_jupyterhub import sessions
    sessions(c, key_file="/etc/jupyterhub/entrar-hub.key")
"""

import asyncio
import time
from urllib.parse import quote

from entrar_launcher import Launcher

# How much of its life a session has when the next one takes its place.
LEFT = 0.25


def sessions(c, key_file, **options):
    """Puts both hooks into JupyterHub's configuration `c`. `options` are those of Launcher."""
    hooks = Hooks(Launcher(key_file, **options))
    c.Spawner.pre_spawn_hook = hooks.open
    c.Spawner.post_stop_hook = hooks.end


class Hooks:
    def __init__(self, launcher):
        self.launcher, self.renewals, self.variables, self.locks = launcher, {}, set(), {}

    async def open(self, spawner):
        """Before a server starts. Without a session it starts all the same, and the log says why there is none."""
        self._forget_renewal(spawner)
        for name in self.variables:
            spawner.environment.pop(name, None)
        try:
            environment, expires_at = await self._open(spawner)
        except Exception as error:
            spawner.log.warning("No Azure tokens for %s: %s", spawner.user.name, error)
            return
        self.variables.update(environment)
        spawner.environment.update(environment)
        self.renewals[_name(spawner)] = asyncio.create_task(self._renew(spawner, expires_at))

    async def end(self, spawner):
        """After it has stopped."""
        self._forget_renewal(spawner)
        try:
            # A renewal that is under way goes on though its task is cancelled: what it opens is ended after it.
            async with self._lock(spawner):
                await asyncio.to_thread(self.launcher.end, _name(spawner))
        except Exception as error:
            spawner.log.warning("The session for Azure tokens of %s has not ended: %s", spawner.user.name, error)

    def _forget_renewal(self, spawner):
        if renewal := self.renewals.pop(_name(spawner), None):
            renewal.cancel()

    def _lock(self, spawner):
        return self.locks.setdefault(_name(spawner), asyncio.Lock())

    async def _open(self, spawner):
        return await asyncio.shield(self._open_alone(spawner))

    async def _open_alone(self, spawner):
        machine = f"JupyterHub {spawner.name}".strip()
        async with self._lock(spawner):
            return await asyncio.to_thread(self.launcher.open, spawner.user.name, _name(spawner), machine)

    async def _renew(self, spawner, expires_at):
        """Puts a new cookie into the same file before the old one expires: clients read it anew."""
        while True:
            await asyncio.sleep(max((expires_at - time.time()) * (1 - LEFT), 60))
            try:
                _, expires_at = await self._open(spawner)
            except Exception as error:
                spawner.log.warning("No new session for Azure tokens of %s: %s", spawner.user.name, error)


def _name(spawner):
    """Of the session: a person may have several servers."""
    return f"jupyter-{quote(spawner.user.name, safe='')}~{quote(spawner.name, safe='')}"
