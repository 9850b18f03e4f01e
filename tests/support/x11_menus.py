"""One window of 400 by 300 with a menu bar, by the toolkit that the first argument names. The Debian package of the
toolkit's Python binding is installed; run with /usr/bin/python3. The window's title is ``menus``."""

import sys

ITEMS = ("First item", "Second item")
MORE = ("More of them", "And another")


def gtk3() -> None:
    import gi

    gi.require_version("Gtk", "3.0")
    from gi.repository import Gtk

    def menu(*items: str) -> Gtk.Menu:
        made = Gtk.Menu()
        for item in items:
            made.append(Gtk.MenuItem(label=item))
        return made

    window = Gtk.Window(title="menus")
    window.set_default_size(400, 300)
    window.connect("destroy", Gtk.main_quit)
    bar, top, nested = Gtk.MenuBar(), Gtk.MenuItem(label="File"), Gtk.MenuItem(label="Nested")
    opened = menu(*ITEMS)
    nested.set_submenu(menu(*MORE))
    opened.append(nested)
    top.set_submenu(opened)
    bar.append(top)
    box = Gtk.Box(orientation=Gtk.Orientation.VERTICAL)
    box.pack_start(bar, False, False, 0)
    window.add(box)
    window.show_all()
    Gtk.main()


def tk() -> None:
    import tkinter

    window = tkinter.Tk()
    window.title("menus")
    window.geometry("400x300")
    bar = tkinter.Menu(window, tearoff=False)
    opened, nested = tkinter.Menu(bar, tearoff=False), tkinter.Menu(bar, tearoff=False)
    for made, items in ((opened, ITEMS), (nested, MORE)):
        for item in items:
            made.add_command(label=item)
    opened.add_cascade(label="Nested", menu=nested)
    bar.add_cascade(label="File", menu=opened)
    window.config(menu=bar)
    window.mainloop()


def qt(version: int) -> None:
    if version == 5:
        from PyQt5.QtWidgets import QApplication, QMainWindow
    else:
        from PyQt6.QtWidgets import QApplication, QMainWindow
    program = QApplication(sys.argv)
    window = QMainWindow()
    window.setWindowTitle("menus")
    window.resize(400, 300)
    opened = window.menuBar().addMenu("File")
    for item in ITEMS:
        opened.addAction(item)
    nested = opened.addMenu("Nested")
    for item in MORE:
        nested.addAction(item)
    window.show()
    getattr(program, "exec_" if version == 5 else "exec")()


if __name__ == "__main__":
    {"gtk3": gtk3, "tk": tk, "qt5": lambda: qt(5), "qt6": lambda: qt(6)}[sys.argv[1]]()
