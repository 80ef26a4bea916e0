"""Where records survive: written before the kernel is touched.

Edge. Knows values and how to write them down; decides nothing, and must not know the engine, the manager or the kernel.
Front doors: ``sqlite.LocalStore``, this node's own records; ``cluster_contract``, the cluster's, with ``cluster_memory``
and ``cluster_sqlite`` as its stores and ``cluster_records`` as what is in them.
"""
