"""The bridge driver: one Ethernet bridge for each network, a veth pair for each endpoint, a firewall of fixed rules.

Knows nothing of other drivers. ``firewall.py`` holds the rules, ``bridge.py`` the devices.
"""
