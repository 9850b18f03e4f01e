"""The interface tables match their XML sources, and match the results of two other parsers of such sources."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sommelier_shim import protocols
from sommelier_shim.core import tables
from support.needs import need

SOURCES = sorted(Path(protocols.__file__).parent.rglob("*.xml"))


def test_the_tables_are_up_to_date() -> None:
    from sommelier_shim.protocols.generate import generate

    committed = Path(tables.__file__).read_text()
    assert committed == generate(), "run `python -m sommelier_shim.protocols.generate` and commit what it writes"


def test_every_source_is_in_the_tables_as_it_stands() -> None:
    """Each interface is in the tables exactly once, and so is every interface that an argument refers to."""
    found = [
        (element.attrib["name"], int(element.attrib["version"]))
        for source in SOURCES
        for element in ElementTree.parse(source).iterfind("interface")
    ]
    assert len(found) == len(set(found)) == len(tables.INTERFACES)
    assert {(interface.name, interface.version) for interface in tables.INTERFACES.values()} == set(found)
    for interface in tables.INTERFACES.values():
        for message in interface.requests + interface.events:
            assert {name for name in message.interfaces if name} <= tables.INTERFACES.keys(), interface.name


def test_destructors_are_those_of_the_sources() -> None:
    for source in SOURCES:
        for element in ElementTree.parse(source).iterfind("interface"):
            interface = tables.INTERFACES[element.attrib["name"]]
            for kind, messages in (("request", interface.requests), ("event", interface.events)):
                marked = {e.attrib["name"] for e in element.iterfind(kind) if e.get("type") == "destructor"}
                assert {message.name for message in messages if message.destructor} == marked, interface.name


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_libwayland_s_scanner_agrees(source: Path) -> None:
    """Names, signatures, since versions and the interfaces of arguments match wayland-scanner's output."""
    need("wayland-scanner", packages="libwayland-bin")
    code = subprocess.run(
        ["wayland-scanner", "private-code", str(source), "/dev/stdout"], capture_output=True, text=True, check=True
    ).stdout
    types = re.findall(r"^\t&?(\w+),$", code[code.index("_types[] = {") :].split("};")[0], re.MULTILINE)
    arrays = {
        name: tuple(
            (message, signature, int(offset or 0))
            for message, signature, offset in re.findall(r'\{ "(\w+)", "([^"]*)", \w+(?: \+ (\d+))? \}', body)
        )
        for name, body in re.findall(r"wl_message (\w+)\[\] = \{\n(.*?)\};", code, re.DOTALL)
    }
    interfaces = re.findall(r"_interface = \{\n\t\"(\w+)\", (\d+),", code)
    assert interfaces
    for name, version in interfaces:
        ours = tables.INTERFACES[name]
        assert ours.version == int(version)
        for messages, suffix in ((ours.requests, "requests"), (ours.events, "events")):
            theirs = arrays.get(f"{name}_{suffix}", ())
            assert len(messages) == len(theirs)
            for message, (their_name, their_signature, offset) in zip(messages, theirs, strict=True):
                since = str(message.since) if message.since > 1 else ""
                assert (message.name, since + message.signature) == (their_name, their_signature)
                count = len(message.signature.replace("?", ""))
                referred = [t.removesuffix("_interface") for t in types[offset : offset + count]]
                assert [n or "NULL" for n in message.interfaces] == referred, f"{name}.{message.name}"


def test_pywayland_describes_the_same_messages() -> None:
    """pywayland's modules come from other versions, so only messages that both have are compared."""
    import pywayland.protocol

    compared = set()
    for module in pkgutil.iter_modules(pywayland.protocol.__path__):
        if module.name in ("xdg_shell_unstable_v5", "tablet_unstable_v2", "linux_dmabuf_unstable_v1"):
            continue  # These modules have different interfaces under the names of their successors in the tables.
        contents = vars(importlib.import_module(f"pywayland.protocol.{module.name}"))
        for peer in contents.values():
            if not hasattr(peer, "requests") or not getattr(peer, "name", None):
                continue
            ours = tables.INTERFACES[peer.name]
            for mine, theirs in ((ours.requests, peer.requests), (ours.events, peer.events)):
                if ours.version >= peer.version:
                    assert len(mine) >= len(theirs)
                for left, right in zip(mine, theirs, strict=False):
                    assert left.name == right.name.rstrip("_"), f"{peer.name} in {module.name}"
                    assert (left.signature, left.since) == (
                        "".join(argument.signature for argument in right.arguments),
                        right.version or 1,
                    ), f"{peer.name}.{left.name}"
                    compared.add((peer.name, left.name))
    assert len(compared) > 700


def test_the_extensions_of_chromeos_are_complete() -> None:
    """Counts and a sample match chromeos-sommelier.md appendix A."""
    shapes = {
        name: (interface.version, len(interface.requests), len(interface.events))
        for name, interface in tables.INTERFACES.items()
        if name.startswith(("zaura_", "zcr_"))
    }
    assert shapes == {
        "zaura_shell": (38, 6, 5),
        "zaura_surface": (38, 28, 7),
        "zaura_output": (38, 1, 5),
        "zaura_toplevel": (38, 10, 2),
        "zaura_popup": (38, 4, 0),
        "zcr_keyboard_extension_v1": (1, 1, 0),
        "zcr_extended_keyboard_v1": (1, 2, 0),
        "zcr_stylus_v2": (2, 2, 0),
        "zcr_touch_stylus_v2": (1, 1, 3),
        "zcr_pointer_stylus_v2": (2, 1, 3),
        "zcr_gaming_input_v2": (2, 2, 0),
        "zcr_gaming_seat_v2": (1, 1, 2),
        "zcr_gamepad_v2": (2, 1, 7),
        "zcr_gamepad_vibrator_v2": (2, 3, 0),
        "zcr_text_input_extension_v1": (11, 1, 0),
        "zcr_extended_text_input_v1": (11, 9, 6),
        "zcr_text_input_crostini_manager_v1": (1, 1, 0),
        "zcr_text_input_crostini_v1": (1, 2, 0),
        "zcr_text_input_x11_v1": (1, 1, 0),
    }
    aura = tables.INTERFACES["zaura_surface"].requests
    assert [(aura[code].name, aura[code].signature, aura[code].since) for code in (3, 4, 27)] == [
        ("set_startup_id", "?s", 4),
        ("set_application_id", "?s", 5),
        ("release", "", 38),
    ]
    activated = tables.INTERFACES["zaura_shell"].events[4]
    assert (activated.name, activated.signature, activated.interfaces) == (
        "activated",
        "?o?o",
        ("wl_surface", "wl_surface"),
    )
    added = tables.INTERFACES["zcr_gaming_seat_v2"].events[1]
    assert (added.signature, added.interfaces[0]) == ("nsuuuu", "zcr_gamepad_v2")
