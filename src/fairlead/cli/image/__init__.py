"""Commands of ``fairlead image``, one module for each verb, and its group."""
