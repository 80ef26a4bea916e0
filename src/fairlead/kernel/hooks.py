"""The only lines that we ever write into another's firewall: asked for by the operator, and taken out again.

A hook lets forwarded packets from and to our bridges pass where another firewall would refuse what it does not know.
What may pass is decided in our own tables all the same: a packet must please every firewall on its way. All that is ours
there is in a chain, a zone and a policy of our own name; the one line elsewhere leads to that chain.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Sequence
from typing import Protocol

from fairlead.kernel.strangers import HOOK_CHAIN as CHAIN
from fairlead.kernel.strangers import HOOK_ZONE as ZONE
from fairlead.kernel.strangers import Strangers

log = logging.getLogger(__name__)

#: Our policy in firewalld, whose names have 18 characters at most.
POLICY = "fairlead-forward"
#: Bridges of Docker, by the names that it gives. What goes there is Docker's to judge.
_DOCKER_BRIDGES = ("docker+", "br-+")
#: Seconds to wait for another's program: iptables waits for its lock, firewalld reloads in one to two.
_PROGRAM_S = 20


class Hook(Protocol):
    """Lines of ours in another's firewall."""

    name: str

    async def put(self, strangers: Strangers, bridges: Sequence[str]) -> bool:
        """See that they are there for these bridges of ours, if the other firewall is there; whether they are."""

    async def take(self) -> None:
        """See that none is there."""


class DockerUser:
    """A chain that Docker's chain for users jumps to, in both families. Docker makes that one at its start, keeps what
    is in it, and calls it before everything of its own."""

    name = "docker-user"

    async def put(self, strangers: Strangers, bridges: Sequence[str]) -> bool:
        """As ``Hook`` says."""
        done = [await self._put(program, strangers, bridges) for program in ("iptables", "ip6tables")]
        return any(done)

    async def take(self) -> None:
        """As ``Hook`` says."""
        for program in ("iptables", "ip6tables"):
            if await _there(program, CHAIN):
                while await _done(program, "-w", "-D", *_JUMP):
                    pass
                await _done(program, "-w", "-F", CHAIN)
                await _done(program, "-w", "-X", CHAIN)

    async def _put(self, program: str, strangers: Strangers, bridges: Sequence[str]) -> bool:
        if not strangers.docker or not await _there(program, "DOCKER-USER"):
            return False
        # declaring a chain empties it: all is replaced at one moment
        script = "\n".join(("*filter", f":{CHAIN} - [0:0]", *_rules(strangers, bridges), "COMMIT", ""))
        made = await _done(f"{program}-restore", "-w", "--noflush", text=script)
        linked = made and (await _done(program, "-w", "-C", *_JUMP) or await _done(program, "-w", "-I", *_JUMP))
        if not linked:
            log.error("%s did not take the rules of --firewall-hook docker-user", program)
        return linked


_JUMP = ("DOCKER-USER", "-j", CHAIN)


def _rules(strangers: Strangers, bridges: Sequence[str]) -> list[str]:
    """To our bridges: our own table judges. From them to bridges of others: those judge. From them elsewhere: pass."""
    others = dict.fromkeys((*_DOCKER_BRIDGES, *strangers.bridges))
    rules = [f"-A {CHAIN} -o {bridge} -j ACCEPT" for bridge in bridges]
    rules += [f"-A {CHAIN} -o {other} -j RETURN" for other in others]
    return rules + [f"-A {CHAIN} -i {bridge} -j ACCEPT" for bridge in bridges]


class Firewalld:
    """A zone with our bridges, and a policy that lets what comes from it leave, as Docker has them."""

    name = "firewalld"

    async def put(self, strangers: Strangers, bridges: Sequence[str]) -> bool:
        """As ``Hook`` says. firewalld makes zones only in its lasting configuration, and reads that when it reloads."""
        if not strangers.firewalld or not await _done("firewall-cmd", "--state"):
            return False
        zones = (await _output("firewall-cmd", "--get-zones")).split()
        if not zones:
            return False  # it reloads just now; its change of tables will call us again
        if ZONE not in zones:
            await self._establish()
        for bridge in bridges:
            where = (await _output("firewall-cmd", f"--get-zone-of-interface={bridge}")).strip()
            if where != ZONE and not await _done("firewall-cmd", f"--zone={ZONE}", f"--change-interface={bridge}"):
                log.error("firewalld did not take %s into the zone %s", bridge, ZONE)
                return False
        return True

    async def take(self) -> None:
        """As ``Hook`` says."""
        if ZONE in (await _output("firewall-cmd", "--permanent", "--get-zones")).split():
            await _done("firewall-cmd", "--permanent", f"--delete-policy={POLICY}")
            await _done("firewall-cmd", "--permanent", f"--delete-zone={ZONE}")
            await _done("firewall-cmd", "--reload")

    async def _establish(self) -> None:
        lasting = ("firewall-cmd", "--permanent")
        policy = f"--policy={POLICY}"
        for words in (
            (f"--new-zone={ZONE}",),
            (f"--zone={ZONE}", "--set-target=ACCEPT"),
            (f"--new-policy={POLICY}",),
            (policy, f"--add-ingress-zone={ZONE}"),
            (policy, "--add-egress-zone=ANY"),
            (policy, "--set-target=ACCEPT"),
        ):
            await _done(*lasting, *words)
        await _done("firewall-cmd", "--reload")


#: Every hook by its name.
HOOKS: dict[str, type[DockerUser | Firewalld]] = {hook.name: hook for hook in (DockerUser, Firewalld)}


async def _there(program: str, chain: str) -> bool:
    return await _done(program, "-w", "-n", "-L", chain)


async def _done(*words: str, text: str = "") -> bool:
    """Whether a program is there and ended well."""
    code, _ = await _run(words, text)
    return code == 0


async def _output(*words: str) -> str:
    _, output = await _run(words, "")
    return output


async def _run(words: Sequence[str], text: str) -> tuple[int, str]:
    """Exit code (-1: not there, or it hung and was ended) and output of a program that is given a text."""
    if shutil.which(words[0]) is None:
        return -1, ""
    pipe, null = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*words, stdin=pipe, stdout=pipe, stderr=null)
    try:
        output, _ = await asyncio.wait_for(process.communicate(text.encode()), _PROGRAM_S)
    except TimeoutError:
        process.kill()
        await process.wait()
        return -1, ""
    return process.returncode or 0, output.decode(errors="replace")
