"""The daemon: the composition root, the only room that knows everyone.

Layer 4. ``assembly.py`` puts a node together, ``main.py`` is the process around it, ``carrier.py`` carries the engine's outcomes out in their order (persist, apply,
act, tell), ``node.py`` is the node as the API sees it, ``files.py`` writes the containers' name files. It decides
nothing: what to do is the engine's word, how to do it the edges'.
"""
