"""Commands of ``fairlead system``, one module for each verb, and its group."""
