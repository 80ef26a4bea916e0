"""A node's place in a cluster (Docker: swarm mode): membership, the manager's carrier, the sessions between them.

Layer L4. ``membership`` is the front door: it answers the API, opens the door between nodes (2377/tcp) and starts what a
member needs. Nothing of it runs on a node that is in no cluster.
"""
