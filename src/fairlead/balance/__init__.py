"""Balancing: which task of a service gets a connection to its virtual address, as plans. Pure.

Public: ``board`` (the services of a network and their ready tasks), ``contract`` (what a back end must be), ``nftables``
(the default) and ``ipvs``.
"""
