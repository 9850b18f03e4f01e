"""The window manager of Xwayland's windows, without I/O. Begun: what a window's properties say."""
