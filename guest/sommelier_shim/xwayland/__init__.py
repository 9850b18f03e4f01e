"""X11 programs: Xwayland and its window manager. Begun: the X11 wire; no program uses it yet."""
