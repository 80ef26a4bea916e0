"""The daemon: the composition root, the only room that knows everyone.

Layer 4. ``assembly.py`` puts a node together, ``recovery.py`` takes up what a crash left, ``main.py`` is the process
around a node and ``service.py`` its service manager, ``carrier.py`` carries the engine's outcomes out in their order
(persist, apply, act, tell), ``node.py`` is the node as the API sees it, ``files.py`` writes the containers' name files.
``lock.py`` keeps a second node from a state directory, ``memory.py`` gives back what a burst of work took.
It decides nothing: what to do is the engine's word, how to do it the edges'.
"""
