"""Where records survive: written before the kernel is touched.

Edge. Knows values and how to write them down; decides nothing, and must not know the engine or the kernel.
Front door: ``sqlite.LocalStore``, this node's own records.
"""
