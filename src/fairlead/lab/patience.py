"""How long a lab waits for what must come: on an emulated machine, longer."""

from __future__ import annotations

import os

#: How many times longer than usual everything may take: the variable ``FAIRLEAD_PATIENCE``, 1 when it is not set.
PATIENCE = float(os.environ.get("FAIRLEAD_PATIENCE", "1"))
