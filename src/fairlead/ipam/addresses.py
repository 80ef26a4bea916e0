"""AddressPool: which addresses of one subnet are in use, and which rest after use.

Three sets over the positions of the subnet (address minus lowest address): ``used`` are in use, ``busy`` are in use or
rest. Those that rest stand in a queue in the order of their release, so the expired ones are at its head and nothing
is ever scanned. Every change answers a new pool, the old one stays valid.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from typing import NamedTuple

from fairlead.ipam.prefixes import Prefix, address_text, prefix
from fairlead.ipam.table import Table
from fairlead.model import codes
from fairlead.model.addresses import parse_address
from fairlead.model.bitmap import Bitmap
from fairlead.model.errors import Exhausted, Forbidden, Invalid

#: Largest number that ``in_use`` and ``available`` show (an unsigned 64-bit field of the Engine API, cnm 5.9).
SHOWN_MAX = 2**64 - 1
#: Longest IPv4 prefix that has a network and a broadcast address (RFC 3021 takes them from /31).
_V4_LENGTH_WITH_BROADCAST = 30


class _Rest(NamedTuple):
    position: int
    until: float


_NO_QUEUE: Table[int, _Rest] = Table()
_NONE_RESTS: Table[int, int] = Table()


@dataclass(frozen=True, slots=True)
class AddressPool:
    """The addresses of one subnet. Times (``now``) are monotonic seconds."""

    subnet: Prefix
    used: Bitmap
    busy: Bitmap
    #: Release number -> who rests and until when; those of addresses taken meanwhile are gone.
    queue: Table[int, _Rest] = _NO_QUEUE
    #: Position -> its release number.
    resting: Table[int, int] = _NONE_RESTS
    #: No release number below it is in the queue.
    head: int = 0
    #: The next release number.
    tail: int = 0

    @classmethod
    def create(cls, subnet: str) -> AddressPool:
        """An unused pool of a subnet, see ``over``; raises ``Invalid`` for what is no subnet."""
        return cls.over(prefix(subnet))

    @classmethod
    def over(cls, parsed: Prefix) -> AddressPool:
        """An unused pool. Reserved as in Docker: the all-zero host of IPv6 (subnet-router anycast, RFC 4291 2.6.1);
        network and broadcast address of IPv4, except in /31 and /32.
        """
        bits = Bitmap(parsed.size)
        if parsed.v6:
            bits = bits.set(0)
        elif parsed.length <= _V4_LENGTH_WITH_BROADCAST:
            bits = bits.set(0).set(parsed.size - 1)
        return cls(parsed, bits, bits)

    def take(self, address: str, now: float) -> AddressPool:
        """Take this very address, also one that rests. Raises ``Invalid`` outside the subnet, ``Forbidden`` when it
        is in use or reserved.
        """
        settled = self.confirm(now)
        if settled is not self:
            return settled.take(address, now)
        position = self._position(address)
        if position is None:
            raise Invalid(
                "requested address is out of range",
                hint=f"{address} is not in {self.subnet}: choose an address of that subnet",
                code=codes.ADDRESS_OUTSIDE,
            )
        if self.used.get(position):
            raise Forbidden(
                "Address already in use",
                hint=f"{address} is taken or reserved in {self.subnet}: choose another, or none to have one chosen",
                code=codes.ADDRESS_TAKEN,
            )
        return self._taken(position)

    def take_any(self, now: float, ip_range: str = "") -> tuple[AddressPool, str]:
        """Take the lowest free address of the range (of the subnet when empty) that does not rest; when all free ones
        rest, the one that has rested longest. Raises ``Exhausted``.
        """
        settled = self.confirm(now)
        if settled is not self:
            return settled.take_any(now, ip_range)
        start, end = self._bounds(ip_range)
        position = self.busy.lowest_clear(start, end)
        if position is None:
            position = self._longest_rested(start, end)
        if position is None:
            raise self._exhausted(ip_range)
        return self._taken(position), address_text(self.subnet.base + position, v6=self.subnet.v6)

    def hold(self, addresses: Iterable[str]) -> AddressPool:
        """An unused pool with all of these taken, in one go. Raises as ``take``, also for one that is named twice."""
        positions: set[int] = set()
        for address in addresses:
            position = self._position(address)
            if position is None or self.used.get(position) or position in positions:
                return self.take(address, 0.0).take(address, 0.0)  # says what is wrong with it
            positions.add(position)
        reserved = (one for one in (0, self.subnet.size - 1) if self.used.get(one))
        bits = Bitmap.of(self.subnet.size, positions.union(reserved))
        return replace(self, used=bits, busy=bits)

    def release(self, address: str, now: float, quarantine_s: float) -> AddressPool:
        """Give an address back; automatic choice leaves it alone for ``quarantine_s`` seconds. Releasing what is not
        in use, reserved, or outside the subnet is nothing. Rests are expected to be of one length: a shorter one
        behind a longer one ends with it.
        """
        pool = self.confirm(now)
        position = self._position(address)
        if position is None or self._reserved(position) or not pool.used.get(position):
            return pool
        used = pool.used.clear(position)
        if quarantine_s <= 0:
            return replace(pool, used=used, busy=pool.busy.clear(position))
        return replace(
            pool,
            used=used,
            queue=pool.queue.put(pool.tail, _Rest(position, now + quarantine_s)),
            resting=pool.resting.put(position, pool.tail),
            tail=pool.tail + 1,
        )

    def confirm(self, now: float) -> AddressPool:
        """The pool without the rests that have ended; amortised one step for each release."""
        head, busy, queue, resting = self.head, self.busy, self.queue, self.resting
        while head < self.tail:
            rest = queue.get(head)
            if rest is not None:
                if rest.until > now:
                    break
                busy, queue, resting = busy.clear(rest.position), queue.drop(head), resting.drop(rest.position)
            head += 1
        if head == self.head:
            return self
        return replace(self, busy=busy, queue=queue, resting=resting, head=head)

    def contains(self, address: str) -> bool:
        """Whether the address lies in the subnet; raises ``Invalid`` for what is no address."""
        return self._position(address) is not None

    @property
    def in_use(self) -> int:
        """How many addresses are in use, the reserved ones among them (cnm 5.9); at most 2^64 - 1."""
        return min(self.used.count, SHOWN_MAX)

    def available(self, ip_range: str = "") -> int:
        """How many addresses of the range automatic choice can still give, the resting ones (its last resort) among
        them; at most 2^64 - 1.
        """
        start, end = self._bounds(ip_range)
        return min(end - start - self.used.count_in(start, end), SHOWN_MAX)

    def _taken(self, position: int) -> AddressPool:
        used, busy = self.used.set(position), self.busy.set(position)
        number = self.resting.get(position)
        if number is None:
            return replace(self, used=used, busy=busy)
        return replace(self, used=used, busy=busy, queue=self.queue.drop(number), resting=self.resting.drop(position))

    def _longest_rested(self, start: int, end: int) -> int | None:
        """The first of the queue that lies in the range; the first of all unless several ranges share the subnet."""
        if not len(self.queue):
            return None
        for number in range(self.head, self.tail):
            rest = self.queue.get(number)
            if rest is not None and start <= rest.position < end:
                return rest.position
        return None

    def _position(self, address: str) -> int | None:
        parsed = parse_address(address)
        if isinstance(parsed, IPv6Address) != self.subnet.v6 or not self.subnet.base <= int(parsed) < self.subnet.end:
            return None
        return int(parsed) - self.subnet.base

    def _reserved(self, position: int) -> bool:
        if self.subnet.v6:
            return position == 0
        return self.subnet.length <= _V4_LENGTH_WITH_BROADCAST and position in (0, self.subnet.size - 1)

    def _bounds(self, ip_range: str) -> tuple[int, int]:
        if not ip_range:
            return 0, self.subnet.size
        part = prefix(ip_range, "ip-range")
        if not self.subnet.holds(part):
            raise Invalid(
                f"invalid ip-range {ip_range}: parent subnet {self.subnet} doesn't contain ip-range",
                code=codes.SUBNET_INVALID,
            )
        return part.base - self.subnet.base, part.end - self.subnet.base

    def _exhausted(self, ip_range: str) -> Exhausted:
        start, end = self._bounds(ip_range)
        where = f"ip-range {ip_range} of {self.subnet}" if ip_range else f"subnet {self.subnet}"
        return Exhausted(
            "no available addresses on this pool",
            hint=f"all {end - start} addresses of the {where} are in use or reserved: remove unused containers, "
            "or make the network anew with a larger subnet or range",
            code=codes.ADDRESSES_EXHAUSTED,
        )
