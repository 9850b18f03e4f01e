"""Protocol descriptions, and the generator that turns them into :mod:`sommelier_shim.tables`. Development only."""
