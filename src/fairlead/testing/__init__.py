"""Stand-ins for the world, public so that third-party drivers can be tested with them.

What is here behaves as the real thing does, in memory and without root, and is itself tested against the real thing. It
may import anything; only tests import it.
"""
