"""IPAM: who has which subnet, and who has which address in it.

Knows subnets, ranges, addresses, rests of freed addresses, Docker's rules for them. Must not know networks, containers,
the host (what to avoid is told), the clock (``now`` is told) or where anything is stored: after a restart the engine
asks again for what it has stored. Everything is a frozen value: an operation answers a new one, the old one stays
valid, so a roll-back is keeping it. Front door: ``default.Ipam``; beside it ``null.NullIpam``, both as
``contract.IpamDriver``; ``validate`` checks what users ask before anything is given out.
"""
