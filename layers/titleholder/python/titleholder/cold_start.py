"""Disables garbage collection during a cold start. Every handler but those of `desk` and `docs` imports this module first.

Imported modules are never garbage, and collections take a fifteenth of the imports' time. `observability.observed`, which decorates every
handler below its imports, enables collection again.
"""

import gc

gc.disable()
