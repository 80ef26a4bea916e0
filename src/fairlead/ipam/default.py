"""Ipam: Docker's ``default`` IPAM driver, the front door of the room."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from fairlead.ipam.addresses import AddressPool
from fairlead.ipam.pools import LOCAL, AddressSpace
from fairlead.ipam.prefixes import Prefix
from fairlead.ipam.table import Table
from fairlead.model.addresses import bare

_NO_POOLS: Table[Prefix, AddressPool] = Table()


@dataclass(frozen=True, slots=True)
class Ipam:
    """Subnets of an address space and the addresses in them. Frozen: each operation answers a new value in time that
    does not grow with what is given out, the old value stays valid.
    """

    space: AddressSpace
    #: How long a freed address rests before automatic choice takes it again, in seconds.
    quarantine_s: float = 0.0
    #: One pool for each subnet, also when several networks share it with different ranges.
    pools: Table[Prefix, AddressPool] = _NO_POOLS

    @classmethod
    def create(
        cls,
        default_pools: Sequence[tuple[str, int]] = (),
        ula_seed: str = "",
        quarantine_s: float = 0.0,
        name: str = LOCAL,
    ) -> Ipam:
        """Nothing given out yet; ``default_pools`` and ``ula_seed`` as ``AddressSpace.create`` takes them."""
        return cls(AddressSpace.create(name, default_pools, ula_seed), quarantine_s)

    def request_pool(
        self, subnet: str = "", ip_range: str = "", *, v6: bool = False, avoid: Sequence[str] = ()
    ) -> tuple[Ipam, str, str]:
        """Give out a subnet, see ``AddressSpace.request``: (ipam, pool id, subnet)."""
        space, key, part = self.space.grant(subnet, ip_range, v6, avoid)
        pools = self.pools if self.pools.get(key) is not None else self.pools.put(key, AddressPool.over(key))
        return replace(self, space=space, pools=pools), space.pool_id(key, part), str(key)

    def release_pool(self, pool_id: str) -> Ipam:
        """Take a pool back; the addresses of its subnet are forgotten with its last range. Raises ``Invalid`` when
        it is not given out.
        """
        space = self.space.release(pool_id)
        key, _ = space.parse(pool_id)
        return replace(self, space=space, pools=self.pools if space.holds(key) else self.pools.drop(key))

    def request_address(self, pool_id: str, address: str, now: float) -> tuple[Ipam, str]:
        """Give out ``address``, or when it is empty the lowest free one of the pool's range: (ipam, ``address/length``). Raises
        ``Forbidden`` (in use), ``Invalid`` (outside, unknown pool), ``Exhausted``.
        """
        key, pool, ip_range = self._pool(pool_id)
        if address:
            taken = bare(address)
            pool = pool.take(taken, now)
        else:
            pool, taken = pool.take_any(now, ip_range)
        return replace(self, pools=self.pools.put(key, pool)), f"{taken}/{key.length}"

    def hold_addresses(self, pool_id: str, addresses: Iterable[str]) -> Ipam:
        """Give out all of these, bare, at once, from a pool of which none is given out yet: much quicker than one by one.
        Raises as ``request_address``."""
        key, pool, _ = self._pool(pool_id)
        return replace(self, pools=self.pools.put(key, pool.hold(addresses)))

    def release_address(self, pool_id: str, address: str, now: float) -> Ipam:
        """Take an address (with or without ``/length``) back; taking back what was not given is nothing. Raises
        ``Invalid`` for an unknown pool.
        """
        key, pool, _ = self._pool(pool_id)
        return replace(self, pools=self.pools.put(key, pool.release(bare(address), now, self.quarantine_s)))

    def contains(self, pool_id: str, address: str) -> bool:
        """Whether the address lies in the pool's subnet; raises ``Invalid`` for an unknown pool or no address."""
        _, pool, _ = self._pool(pool_id)
        return pool.contains(bare(address))

    def usage(self, pool_id: str) -> tuple[int, int]:
        """Addresses of the pool's subnet in use (reserved ones too), and free ones in its range (cnm 5.9)."""
        _, pool, ip_range = self._pool(pool_id)
        return pool.in_use, pool.available(ip_range)

    def _pool(self, pool_id: str) -> tuple[Prefix, AddressPool, str]:
        key, part = self.space.find(pool_id)
        pool = self.pools.get(key)
        assert pool is not None, f"{pool_id} is given out and has no addresses"
        return key, pool, str(part) if part else ""
