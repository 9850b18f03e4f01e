"""The X11 protocol without I/O, as far as a window manager needs it."""
