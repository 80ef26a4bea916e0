"""Who belongs to the cluster: join tokens, the certificate authority, node certificates, and what seals secrets on disk.

Pure: the time comes in as ``at`` (epoch seconds), chance as a ``Chance``, which outside of tests is the operating
system's. Both ends of a session use this room, so it knows neither; files, sockets and TLS are other rooms' work.
"""
