"""Containers under runc, each watched by conmon, which outlives the daemon.

Layer E. It knows root file systems, OCI bundles, processes, logs and terminals. It does not know networks: it is given
a prepared network namespace and the files to bind over ``/etc/hosts``, ``/etc/resolv.conf`` and ``/etc/hostname``.
It decides nothing about a container's life: whoever calls ``start`` also hears of the end through ``watch``.
It must not know engine, kernel, store, api. Front door: ``containers.Runtime``. ``haproxy`` keeps the HTTP mesh's proxy, and
``certificates`` reads what it shows.
"""
