"""AddressSpace: which subnets are given out, and the default pools that automatic choice cuts subnets from.

Given-out subnets are held twice: in a table by subnet, with their ip-ranges, and as ``Runs``, the sorted stretches of
addresses that they cover, where neighbours have grown together. Automatic choice walks over the runs, so 500 subnets
cut one after the other from a default pool are one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256

from fairlead.ipam.prefixes import Prefix, check_sense, prefix
from fairlead.ipam.runs import Runs
from fairlead.ipam.table import Table
from fairlead.model import codes
from fairlead.model.errors import Forbidden, Invalid
from fairlead.model.settings import DEFAULT_POOLS_V4

#: Name of the address space of networks of one node (Docker).
LOCAL = "LocalDefault"
#: Name of the address space of networks of the cluster (Docker).
GLOBAL = "GlobalDefault"

#: Unique-local IPv6 (RFC 4193 section 3.1): ``fd``, 40 bits of global id, then the subnet id.
_ULA_BASE = 0xFD << 120
_ULA_ID_BITS = 40
_ULA_LENGTH = 48
#: Length of an IPv6 subnet in which hosts can make addresses for themselves (RFC 4291 section 2.5.1).
_ULA_SUBNET_LENGTH = 64
#: Lists of prefixes to avoid that are remembered in digested form: the one of now, and some of before.
_AVOID_REMEMBERED = 8

_NO_SUBNETS: Table[Prefix, frozenset[Prefix | None]] = Table()
_NO_RUNS = Runs()


class UsedUp(Invalid):
    """No room is left in the default pools for a subnet of the wanted size; 400, as in Docker."""


@dataclass(frozen=True, slots=True)
class DefaultPool:
    """A prefix that automatic choice cuts into subnets of prefix length ``size``."""

    base: Prefix
    size: int


@dataclass(frozen=True, slots=True)
class AddressSpace:
    """The subnets of one address space; every change answers a new space, the old one stays valid."""

    name: str
    defaults: tuple[DefaultPool, ...]
    #: Subnet -> its ip-ranges in use; None stands for the use of the subnet without a range.
    subnets: Table[Prefix, frozenset[Prefix | None]] = _NO_SUBNETS
    runs_v4: Runs = _NO_RUNS
    runs_v6: Runs = _NO_RUNS

    @classmethod
    def create(cls, name: str, default_pools: Sequence[tuple[str, int]] = (), ula_seed: str = "") -> AddressSpace:
        """A space without subnets. ``default_pools`` are (base prefix, length of the subnets cut from it); none means
        Docker's own. Without an IPv6 base among them, a /48 that ``ula_seed`` (the node's id) decides is added, cut
        in /64. Sorted by base; a pool that overlaps an earlier one is left out (cnm 5.1). Raises ``Invalid``.
        """
        pools = [_default_pool(base, size) for base, size in default_pools or DEFAULT_POOLS_V4]
        if not any(pool.base.v6 for pool in pools):
            pools.append(DefaultPool(ula_prefix(ula_seed), _ULA_SUBNET_LENGTH))
        kept: list[DefaultPool] = []
        for pool in sorted(pools, key=lambda pool: pool.base):
            if not kept or not kept[-1].base.overlaps(pool.base):
                kept.append(pool)
        return cls(name, tuple(kept))

    def request(
        self, subnet: str = "", ip_range: str = "", v6: bool = False, avoid: Sequence[str] = ()
    ) -> tuple[AddressSpace, str, str]:
        """Give out a subnet: the one asked, or automatically the lowest free one of the default pools that meets no
        prefix of ``avoid``; ``0.0.0.0/N`` and ``::/N`` ask for any of prefix length N. Answers the new space, the
        pool's id and the subnet. The family of a subnet that was named wins over ``v6``.

        Raises ``Invalid`` for nonsense and when the default pools are used up, ``Forbidden`` when the subnet asked
        overlaps a given one. An explicit subnet is not compared with ``avoid`` (as in Docker).
        """
        space, given, part = self.grant(subnet, ip_range, v6, avoid)
        return space, space.pool_id(given, part), str(given)

    def grant(
        self, subnet: str, ip_range: str, v6: bool, avoid: Sequence[str]
    ) -> tuple[AddressSpace, Prefix, Prefix | None]:
        """What ``request`` does, answering subnet and ip-range as numbers."""
        asked = prefix(subnet) if subnet else Prefix(v6, 0, 0)
        if asked.base:
            check_sense(asked)
            part = _part(asked, ip_range)
            return self._given(asked, part), asked, part
        if ip_range:
            raise Invalid(
                "invalid address subpool",
                hint=f"give the subnet that {ip_range} is a part of (--subnet) too, or leave --ip-range out",
                code=codes.SUBNET_INVALID,
            )
        chosen = self._automatic(asked.v6, asked.length, avoid)
        return self._given(chosen, None), chosen, None

    def pool_id(self, subnet: Prefix, part: Prefix | None) -> str:
        """The id of a pool: ``<space>/<subnet>``, and ``/<ip-range>`` if it has one (Docker's form)."""
        return f"{self.name}/{subnet}/{part}" if part else f"{self.name}/{subnet}"

    def release(self, pool_id: str) -> AddressSpace:
        """Take a subnet (or one ip-range of it) back. Raises ``Invalid`` when it is not given out."""
        subnet, part = self.find(pool_id)
        left = (self.subnets.get(subnet) or frozenset()) - {part}
        if left:
            return replace(self, subnets=self.subnets.put(subnet, left))
        return self._with_runs(
            subnet, self._runs(subnet.v6).without(subnet.base, subnet.end), self.subnets.drop(subnet)
        )

    def find(self, pool_id: str) -> tuple[Prefix, Prefix | None]:
        """Subnet and ip-range of a pool that is given out; raises ``Invalid`` when it is not."""
        subnet, part = self.parse(pool_id)
        parts = self.subnets.get(subnet)
        if parts is None or part not in parts:
            raise _unknown(pool_id)
        return subnet, part

    def holds(self, subnet: Prefix) -> bool:
        """Whether the subnet is given out, with or without a range."""
        return self.subnets.get(subnet) is not None

    def parse(self, pool_id: str) -> tuple[Prefix, Prefix | None]:
        """Subnet and ip-range that a pool's id means; raises ``Invalid``."""
        parts = pool_id.split("/")
        if len(parts) not in (3, 5) or parts[0] != self.name:
            raise _unknown(pool_id)
        child = prefix(f"{parts[3]}/{parts[4]}", "ip-range") if len(parts) == 5 else None
        return prefix(f"{parts[1]}/{parts[2]}"), child

    def _given(self, subnet: Prefix, part: Prefix | None) -> AddressSpace:
        parts = self.subnets.get(subnet)
        if parts is None:
            runs = self._runs(subnet.v6)
            if runs.meet(subnet.base, subnet.end):
                raise self._overlap(subnet)
            table = self.subnets.put(subnet, frozenset((part,)))
            return self._with_runs(subnet, runs.plus(subnet.base, subnet.end), table)
        if part is None or None in parts or part in parts:
            raise self._overlap(subnet)
        return replace(self, subnets=self.subnets.put(subnet, parts | {part}))

    def _automatic(self, v6: bool, length: int, avoid: Sequence[str]) -> Prefix:
        runs, shunned = self._runs(v6), _avoided(tuple(avoid), v6)
        pools = [pool for pool in self.defaults if pool.base.v6 == v6]
        fitting = [pool for pool in pools if pool.base.length <= (length or pool.size)]
        if pools and not fitting:
            largest = min(pool.base.length for pool in pools)
            raise Invalid(
                "invalid address pool",
                hint=f"no default address pool can hold a /{length}: ask for /{largest} or longer, name the subnet itself, or set larger default address pools",
                code=codes.SUBNET_INVALID,
            )
        for pool in fitting:
            wanted = length or pool.size
            step = 1 << (pool.base.bits - wanted)
            base = _lowest_free(pool.base, step, runs, shunned)
            if base is not None:
                return Prefix(v6, base, wanted)
        raise self._used_up(pools, v6)

    def _used_up(self, pools: Sequence[DefaultPool], v6: bool) -> UsedUp:
        family = "IPv6" if v6 else "IPv4"
        users = sum(1 for subnet, _ in self.subnets.items() if any(pool.base.overlaps(subnet) for pool in pools))
        remedy = (
            "remove unused networks (`fairlead network prune`), name a --subnet, or set other default address pools"
        )
        why = (
            f"{users} subnets of networks lie in the {len(pools)} {family} default address pools, the host has the rest"
            if pools
            else f"there is no {family} default address pool"
        )
        return UsedUp(
            "all predefined address pools have been fully subnetted",
            hint=f"{why}: {remedy}",
            code=codes.POOLS_EXHAUSTED,
        )

    def _overlap(self, subnet: Prefix) -> Forbidden:
        other = min((str(held) for held, _ in self.subnets.items() if held.overlaps(subnet)), default=str(subnet))
        return Forbidden(
            "invalid pool request: Pool overlaps with other one on this address space",
            hint=f"{subnet} meets {other}, which a network has (`fairlead network ls`): choose another subnet, "
            "or none to have one chosen",
            code=codes.SUBNET_TAKEN,
        )

    def _runs(self, v6: bool) -> Runs:
        return self.runs_v6 if v6 else self.runs_v4

    def _with_runs(self, subnet: Prefix, runs: Runs, table: Table[Prefix, frozenset[Prefix | None]]) -> AddressSpace:
        if subnet.v6:
            return replace(self, subnets=table, runs_v6=runs)
        return replace(self, subnets=table, runs_v4=runs)


def ula_prefix(seed: str) -> Prefix:
    """The unique-local /48 of a node: low 40 bits of the first 8 bytes of the SHA-256 of its id (Docker's rule)."""
    number = int.from_bytes(sha256(seed.encode()).digest()[:8], "big") & ((1 << _ULA_ID_BITS) - 1)
    return Prefix(True, _ULA_BASE | number << (128 - _ULA_LENGTH), _ULA_LENGTH)


def _default_pool(base: str, size: int) -> DefaultPool:
    parsed = prefix(base, "default address pool")
    check_sense(parsed)
    if not parsed.length <= size <= parsed.bits:
        raise Invalid(
            f"invalid default address pool {base}: size {size} must be from {parsed.length} to {parsed.bits}",
            hint="size is the prefix length of the subnets that are cut from the base",
            code=codes.SUBNET_INVALID,
        )
    return DefaultPool(parsed, size)


def _part(subnet: Prefix, ip_range: str) -> Prefix | None:
    """The ip-range as a part of the subnet; one that is as large as the subnet or larger is none (cnm 5.2)."""
    if not ip_range:
        return None
    part = prefix(ip_range, "ip-range")
    if part.holds(subnet):
        return None
    if not subnet.holds(part):
        raise Invalid(
            f"invalid ip-range {ip_range}: parent subnet {subnet} doesn't contain ip-range",
            hint=f"choose a part of {subnet}",
            code=codes.SUBNET_INVALID,
        )
    return part


def _unknown(pool_id: str) -> Invalid:
    return Invalid(
        "address space does not contain specified address pool",
        hint=f"no network holds a pool {pool_id!r} any more",
        code=codes.SUBNET_INVALID,
    )


def _lowest_free(base: Prefix, step: int, runs: Runs, shunned: Runs) -> int | None:
    """The lowest multiple of ``step`` in ``base`` from which ``step`` addresses are in no run of either kind."""
    at = base.base
    while at + step <= base.end:
        end = runs.meet(at, at + step) or shunned.meet(at, at + step)
        if not end:
            return at
        at = -(-end // step) * step
    return None


@lru_cache(maxsize=_AVOID_REMEMBERED)
def _avoided(avoid: tuple[str, ...], v6: bool) -> Runs:
    """The prefixes to avoid, of one family; a default route (length 0) is not one of them (cnm 5.6)."""
    runs = Runs()
    for text in avoid:
        parsed = prefix(text)
        if parsed.v6 == v6 and parsed.length:
            runs = runs.plus(parsed.base, parsed.end)
    return runs
