"""The Container Network Model on one node: commands and facts go in, decisions come out.

Layer 3, pure: no socket, no clock, no kernel. ``Engine.handle(message, now, at)`` changes the model and returns an
``Outcome``: what to persist, what must exist in Linux, what to do afterwards, what to tell. It never learns how that is
done; how it went comes back as an event. It must not know the store, the kernel, the container runtime or the API.
Front door: ``engine.Engine``.
"""
