"""Service discovery: the embedded DNS at 127.0.0.11 of every sandbox, and its name files.

Knows names, addresses, networks and what a sandbox may see. Must not know drivers, the store, the kernel's objects or
how a sandbox was made: sockets and values are handed in.
Front door: ``aio.DnsServer`` (serves all sandboxes from one thread). Pure inside: ``names`` (record tables), ``wire``
(bytes), ``resolver`` (question to answer), ``cache`` (ready answers), ``upstream`` (forwarding), ``stream`` (TCP
framing), ``resolvconf`` and ``hosts`` (the two files).
"""
