"""A GTK program to drag from and to drop on: ``drag_program.py NAME``. It prints dropped text to standard output.

Its left half is a drag source for the text ``from NAME``; its right half accepts text.
"""

import sys

import gi

gi.require_version("Gdk", "3.0")
gi.require_version("Gtk", "3.0")
from gi.repository import Gdk, GLib, Gtk  # noqa: E402

name = sys.argv[1]
GLib.set_prgname(name)
window = Gtk.Window(title=name, default_width=220, default_height=120, decorated=False)
both = Gtk.Box(homogeneous=True)
source, target = Gtk.EventBox(), Gtk.EventBox()
source.add(Gtk.Label(label=f"drag {name}"))
target.add(Gtk.Label(label=f"drop on {name}"))
both.add(source)
both.add(target)
window.add(both)
source.drag_source_set(Gdk.ModifierType.BUTTON1_MASK, [], Gdk.DragAction.COPY)
source.drag_source_add_text_targets()
target.drag_dest_set(Gtk.DestDefaults.ALL, [], Gdk.DragAction.COPY)
target.drag_dest_add_text_targets()


def give(_widget, _context, data, _info, _time):
    data.set_text(f"from {name}", -1)


def take(_widget, _context, _x, _y, data, _info, _time):
    print(f"{name} got {data.get_text()}", flush=True)


source.connect("drag-data-get", give)
target.connect("drag-data-received", take)
window.connect("destroy", Gtk.main_quit)
window.show_all()
Gtk.main()
