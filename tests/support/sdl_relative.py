"""An SDL 2 program in relative mode, as a game that turns its view; it prints the sum of all motion."""

import ctypes
import sys
import time

sdl = ctypes.CDLL("libSDL2-2.0.so.0")
sdl.SDL_CreateWindow.restype = ctypes.c_void_p
sdl.SDL_GetError.restype = ctypes.c_char_p
MOTION, BUTTON = 0x400, 0x401


class Motion(ctypes.Structure):
    """SDL_MouseMotionEvent."""

    _fields_ = [(name, ctypes.c_uint32) for name in ("type", "time", "window", "which", "state")]
    _fields_ += [(name, ctypes.c_int32) for name in ("x", "y", "dx", "dy")]


if sdl.SDL_Init(0x20):
    sys.exit(sdl.SDL_GetError().decode())
window = sdl.SDL_CreateWindow(b"game", 0x2FFF0000, 0x2FFF0000, 300, 200, 4)
if not window:
    sys.exit(sdl.SDL_GetError().decode())
# Xwayland shows a window only when something is drawn.
sdl.SDL_GetWindowSurface.restype = ctypes.c_void_p
sdl.SDL_FillRect(ctypes.c_void_p(sdl.SDL_GetWindowSurface(ctypes.c_void_p(window))), None, 0x205080)
sdl.SDL_UpdateWindowSurface(ctypes.c_void_p(window))
event = (ctypes.c_uint8 * 128)()
x = y = 0
while True:
    while sdl.SDL_PollEvent(ctypes.byref(event)):
        motion = Motion.from_buffer(event)
        if motion.type == BUTTON:
            print(f"relative {sdl.SDL_SetRelativeMouseMode(1)}", flush=True)
            x = y = 0
        elif motion.type == MOTION:
            x, y = x + motion.dx, y + motion.dy
            print(f"motion {x} {y}", flush=True)
    time.sleep(0.005)
