"""The emulated kernel lane: tests marked ``vm`` run on Debian's own kernel, in one machine for all of them.

The machine's kernel may lack what some networks need (ip_vs, ESP, 802.1Q, ipvlan). So Debian's kernel is booted by
virtme-ng in an emulator, which sees this machine's files, and pytest runs there once, with all chosen ``vm`` tests. The
run outside takes over each test's report as its own: one closing line counts everything (``plugin``). ``machine`` knows
what an emulator needs and boots it; ``guest.sh`` is what it runs; ``reports`` is the file between the two.
"""
