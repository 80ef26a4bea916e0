"""Networks that span nodes: a namespace for each, with a bridge and a tunnel for each of its segments.

Front door: ``overlay.OverlayDriver``. Pure: it plans, and knows neither gossip nor managers.
"""
