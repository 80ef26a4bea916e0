"""Network drivers: each turns a network and its endpoints into the Linux objects that should exist.

Layer 2, pure. A driver is data in, plan out: it never asks the kernel, the store, IPAM or another driver, and writes no
clean-up code (taking a plan back is applying the plan before). ``contract.py`` is what a driver must be,
``registry.py`` finds one by name, ``null.py`` is the smallest example.
"""
