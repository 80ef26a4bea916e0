"""Who is alive and what is where, told from node to node: membership and replicated tables without any manager.

A sans-IO core: ``gossip.py`` is its front door, ``aio.py`` its only edge. Nothing here knows a clock or a socket.
"""
