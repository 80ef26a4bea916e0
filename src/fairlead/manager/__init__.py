"""Manager: the brain of a cluster. It admits nodes, gives out subnets, VNIs, addresses and keys, and tells each node what
concerns it.

Knows records of the cluster and the values of sessions. Must not know sockets, the store, certificates' mathematics, the
clock (``now``, ``at`` are told) or chance (a ``Chance`` is passed in). Everything but sessions, heartbeats and
confirmations is in the records, so a manager that starts anew goes on from them. Front door: ``manager.Manager``.
"""
