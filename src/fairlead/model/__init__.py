"""Values: what Fairlead talks about, and nothing that happens.

Layer 0. Frozen dataclasses of the Container Network Model, the commands that can be asked, the events that can
happen, the errors, the settings. Standard library only; no input or output, no clock, no chance.
Addresses are canonical text (``10.0.0.2``, ``10.0.0.2/24``): parsed once at the edge by ``addresses.py``.
"""
