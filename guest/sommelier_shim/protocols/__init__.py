"""Protocol descriptions, and the generator of :mod:`sommelier_shim.core.tables`. Development only."""
