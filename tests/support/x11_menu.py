"""A GTK 3 window with a menu, each in a color of its own; prints where GDK has put them. Run with python3-gi."""

import sys

import gi

gi.require_version("Gdk", "3.0")
gi.require_version("Gtk", "3.0")
from gi.repository import Gdk, GLib, Gtk  # noqa: E402

CSS = b"""
window.main, window.main * { background: #ff0000; }
menu, menu * { background: #00ff00; border: none; box-shadow: none; border-radius: 0; margin: 0; padding: 0;
    color: #00ff00; }
"""


def place(widget: Gtk.Widget) -> str:
    window = widget.get_window()
    _, x, y = window.get_origin()
    return f"{x} {y} {window.get_width()} {window.get_height()}"


def main() -> None:
    provider = Gtk.CssProvider()
    provider.load_from_data(CSS)
    Gtk.StyleContext.add_provider_for_screen(Gdk.Screen.get_default(), provider, 800)
    window = Gtk.Window(title="menu", decorated=False)
    window.get_style_context().add_class("main")
    window.set_default_size(300, 200)
    window.connect("destroy", Gtk.main_quit)
    menu = Gtk.Menu()
    for index in range(4):
        menu.append(Gtk.MenuItem(label=f"item {index} of the menu"))
    menu.show_all()
    box = Gtk.EventBox()
    window.add(box)

    def pressed(widget: Gtk.Widget, event: Gdk.Event) -> None:
        print("pressed", int(event.x), int(event.y), flush=True)
        menu.popup_at_pointer(event)

    def mapped(widget: Gtk.Widget) -> None:
        GLib.timeout_add(300, lambda: print("places", place(menu.get_toplevel()), place(window), flush=True))

    box.connect("button-press-event", pressed)
    menu.connect("map", mapped)
    window.show_all()
    Gtk.main()


if __name__ == "__main__":
    sys.exit(main())
