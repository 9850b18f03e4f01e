"""Draws pictures with librsvg and cairo, the libraries with which GTK draws icons. Runs in the renderer."""

from __future__ import annotations

import ctypes
import zlib
from collections.abc import Callable
from typing import Any

from guestlink_host.border.pictures.draw_protocol import DrawRequest
from guestlink_host.border.pictures.png import CHANNELS, BadPicture, Square, chunks, lines_length, size

READABLE = (
    "/etc/fonts",
    "/usr/local/share/fonts",
    "/usr/share/fontconfig",
    "/usr/share/fonts",
    "/usr/share/mime",
    "/var/cache/fontconfig",
)
"""Directories that the libraries read while they draw: fonts, and the types of pictures in pictures."""
PIXELS_LIMIT = 4096 * 4096
"""Pixels of a PNG: 64 MiB in memory."""

_POINTER, _INT, _DOUBLE, _SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_double, ctypes.c_size_t
_ARGB32 = 0
_SUCCESS, _READ_ERROR = 0, 10
_Stream = ctypes.CFUNCTYPE(_INT, _POINTER, _POINTER, ctypes.c_uint)


class LibrariesMissing(Exception):
    """The libraries that draw are not installed."""


class _Rectangle(ctypes.Structure):
    _fields_ = (("x", _DOUBLE), ("y", _DOUBLE), ("width", _DOUBLE), ("height", _DOUBLE))


class _Length(ctypes.Structure):
    _fields_ = (("value", _DOUBLE), ("unit", _INT))


class Drawing:
    """The libraries, loaded.

    :raises LibrariesMissing: one is not installed.
    """

    def __init__(self) -> None:
        try:
            self._rsvg = ctypes.CDLL("librsvg-2.so.2")
            self._cairo = ctypes.CDLL("libcairo.so.2")
            _declare(self._rsvg, _RSVG)
            _declare(self._cairo, _CAIRO)
        except OSError as error:
            raise LibrariesMissing("librsvg or cairo is missing") from error
        except AttributeError as error:
            raise LibrariesMissing("librsvg is older than 2.52") from error
        self._input, self._position = ctypes.create_string_buffer(0), 0
        self._output = bytearray()
        # A callback needs memory that can be executed, which the confinement no longer gives.
        self._reading, self._writing = _Stream(self._read), _Stream(self._write)
        self._load_fonts()

    def draw(self, request: DrawRequest) -> list[Square]:
        """Draw a picture; returns all its squares.

        :raises BadPicture: it is not such a picture, or too large.
        """
        picture = request.picture
        draw = self._svg(picture.content) if picture.is_svg else self._png(picture.content)
        return [self._square(side, draw) for side in request.sides]

    def _load_fonts(self) -> None:
        """Read fontconfig's files now, once for all pictures."""
        try:
            ctypes.CDLL("libfontconfig.so.1").FcInit()
        except OSError:
            return

    # -- SVG (https://gnome.pages.gitlab.gnome.org/librsvg/Rsvg-2.0/class.Handle.html) -----------------------------

    def _svg(self, content: bytes) -> Callable[[int, Any], None]:
        handle = self._rsvg.rsvg_handle_new_from_data(content, len(content), None)
        if not handle:
            raise BadPicture("librsvg cannot read the SVG")
        width, height = self._proportions(handle)

        def draw(side: int, context: Any) -> None:
            scale = side / max(width, height)
            box = _Rectangle((side - width * scale) / 2, (side - height * scale) / 2, width * scale, height * scale)
            if not self._rsvg.rsvg_handle_render_document(handle, context, ctypes.byref(box), None):
                raise BadPicture("librsvg cannot draw the SVG")

        return draw

    def _proportions(self, handle: Any) -> tuple[float, float]:
        """Width and height, in any unit: those of the document, of its view box, or of a square."""
        width, height = _DOUBLE(), _DOUBLE()
        references = ctypes.byref(width), ctypes.byref(height)
        has_size = self._rsvg.rsvg_handle_get_intrinsic_size_in_pixels(handle, *references)
        if has_size and width.value > 0 and height.value > 0:
            return width.value, height.value
        has_width, has_height, has_box, box, length = _INT(), _INT(), _INT(), _Rectangle(), _Length()
        self._rsvg.rsvg_handle_get_intrinsic_dimensions(
            handle,
            ctypes.byref(has_width),
            ctypes.byref(length),
            ctypes.byref(has_height),
            ctypes.byref(length),
            ctypes.byref(has_box),
            ctypes.byref(box),
        )
        return (box.width, box.height) if has_box and box.width > 0 and box.height > 0 else (1.0, 1.0)

    # -- PNG -------------------------------------------------------------------------------------------------------

    def _png(self, content: bytes) -> Callable[[int, Any], None]:
        width, height = size(content)
        if not 0 < width * height <= PIXELS_LIMIT:
            raise BadPicture(f"{width} x {height} pixels are no icon")
        self._input, self._position = ctypes.create_string_buffer(content, len(content)), 0
        surface = self._cairo.cairo_image_surface_create_from_png_stream(self._reading, None)
        if self._cairo.cairo_surface_status(surface) != _SUCCESS:
            raise BadPicture("the PNG is damaged")

        def draw(side: int, context: Any) -> None:
            # A small picture keeps its pixels.
            scale = min(side / max(width, height), 1.0)
            left, top = (side - width * scale) / 2, (side - height * scale) / 2
            if scale == 1.0:
                left, top = int(left), int(top)
            self._cairo.cairo_translate(context, left, top)
            self._cairo.cairo_scale(context, scale, scale)
            self._cairo.cairo_set_source_surface(context, surface, 0, 0)
            self._cairo.cairo_paint(context)

        return draw

    def _read(self, _closure: Any, target: Any, length: int) -> int:
        if len(self._input) - self._position < length:
            return _READ_ERROR
        ctypes.memmove(target, ctypes.addressof(self._input) + self._position, length)
        self._position += length
        return _SUCCESS

    # -- squares ---------------------------------------------------------------------------------------------------

    def _square(self, side: int, draw: Callable[[int, Any], None]) -> Square:
        """Draw on a transparent square; libpng filters its lines."""
        surface = self._cairo.cairo_image_surface_create(_ARGB32, side, side)
        context = self._cairo.cairo_create(surface)
        draw(side, context)
        self._cairo.cairo_destroy(context)
        self._output.clear()
        status = self._cairo.cairo_surface_write_to_png_stream(surface, self._writing, None)
        self._cairo.cairo_surface_destroy(surface)
        encoded = bytes(self._output)
        depth, color = encoded[24:26]
        if status != _SUCCESS or depth != 8 or color not in CHANNELS:
            raise BadPicture("cairo cannot draw it")
        data = b"".join(data for kind, data in chunks(encoded) if kind == b"IDAT")
        return Square(side, color, zlib.decompressobj().decompress(data, lines_length(side, color)))

    def _write(self, _closure: Any, source: Any, length: int) -> int:
        self._output += ctypes.string_at(source, length)
        return _SUCCESS


def _declare(library: ctypes.CDLL, functions: dict[str, tuple[Any, tuple[Any, ...]]]) -> None:
    for name, (result, arguments) in functions.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments


_RSVG = {
    "rsvg_handle_new_from_data": (_POINTER, (ctypes.c_char_p, _SIZE, _POINTER)),
    "rsvg_handle_render_document": (_INT, (_POINTER, _POINTER, _POINTER, _POINTER)),
    "rsvg_handle_get_intrinsic_size_in_pixels": (_INT, (_POINTER, _POINTER, _POINTER)),
    "rsvg_handle_get_intrinsic_dimensions": (None, (_POINTER,) * 7),
}
_CAIRO = {
    "cairo_image_surface_create": (_POINTER, (_INT, _INT, _INT)),
    "cairo_image_surface_create_from_png_stream": (_POINTER, (_Stream, _POINTER)),
    "cairo_surface_status": (_INT, (_POINTER,)),
    "cairo_surface_write_to_png_stream": (_INT, (_POINTER, _Stream, _POINTER)),
    "cairo_surface_destroy": (None, (_POINTER,)),
    "cairo_create": (_POINTER, (_POINTER,)),
    "cairo_destroy": (None, (_POINTER,)),
    "cairo_translate": (None, (_POINTER, _DOUBLE, _DOUBLE)),
    "cairo_scale": (None, (_POINTER, _DOUBLE, _DOUBLE)),
    "cairo_set_source_surface": (None, (_POINTER, _POINTER, _DOUBLE, _DOUBLE)),
    "cairo_paint": (None, (_POINTER,)),
}
