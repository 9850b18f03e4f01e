"""The wire format: every item of our descriptor set, compared with a description of ChromeOS's messages.

``golden/wire.json`` comes from the originals' descriptors: fields are [number, type] with "oneof NAME" as a third
element, RPCs are [request, response, client streams, server streams].
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorSet,
)

import guestlink.pb

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parents[1] / "golden/wire.json").read_text())

BYTES_FOR_STRING = {
    ("vm_tools.vsh.SetupConnectionRequest", "user"),
    ("vm_tools.vsh.SetupConnectionRequest", "command"),
    ("vm_tools.vsh.SetupConnectionRequest", "argv"),
    ("vm_tools.vsh.SetupConnectionRequest", "cwd"),
}
"""Text that need not be UTF-8: we declare bytes, which have the same wire format (chromeos-vsh.md §3.2)."""
ENTRIES_FOR_MAP = {
    ("vm_tools.vsh.SetupConnectionRequest", "env"): (
        "repeated vm_tools.vsh.SetupConnectionRequest.Variable",
        {"key": [1, "bytes"], "value": [2, "bytes"]},
    )
}
"""On the wire a map is a repeated message of key 1 and value 2; protobuf does not allow bytes as map keys."""


OWN_PACKAGE = "guestlink"
"""Calls between garcon and guestlink-host that ChromeOS does not have."""


class Ours:
    """Our descriptor set in the format of the golden file."""

    def __init__(self) -> None:
        content = (Path(guestlink.pb.__file__).parent / guestlink.pb.DESCRIPTOR_SET).read_bytes()
        self.messages: dict[str, dict[str, list[Any]]] = {}
        self.enums: dict[str, dict[str, int]] = {}
        self.services: dict[str, dict[str, list[Any]]] = {}
        self.syntaxes: set[str] = set()
        for file in FileDescriptorSet.FromString(content).file:
            self.syntaxes.add(file.syntax)
            if file.package == OWN_PACKAGE:
                continue
            for enum in file.enum_type:
                self._add_enum(f"{file.package}.{enum.name}", enum)
            for message in file.message_type:
                self._add_message(f"{file.package}.{message.name}", message)
            for service in file.service:
                self.services[f"{file.package}.{service.name}"] = {
                    method.name: [
                        method.input_type[1:],
                        method.output_type[1:],
                        method.client_streaming,
                        method.server_streaming,
                    ]
                    for method in service.method
                }

    def _add_enum(self, name: str, enum: EnumDescriptorProto) -> None:
        self.enums[name] = {value.name: value.number for value in enum.value}

    def _add_message(self, name: str, message: DescriptorProto) -> None:
        for enum in message.enum_type:
            self._add_enum(f"{name}.{enum.name}", enum)
        maps = {}
        for nested in message.nested_type:
            if nested.options.map_entry:
                maps[f".{name}.{nested.name}"] = nested
            else:
                self._add_message(f"{name}.{nested.name}", nested)
        self.messages[name] = {}
        for field in message.field:
            if (entry := maps.get(field.type_name)) is not None:
                words = f"map<{_type(entry.field[0])},{_type(entry.field[1])}>"
            else:
                words = ("repeated " if field.label == field.LABEL_REPEATED else "") + _type(field)
            described = [field.number, words]
            if field.HasField("oneof_index"):
                described.append(f"oneof {message.oneof_decl[field.oneof_index].name}")
            self.messages[name][field.name] = described


def _type(field: FieldDescriptorProto) -> str:
    return field.type_name[1:] or FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()


OURS = Ours()


def _expected_field(message: str, field: str) -> list[Any]:
    number, words, *oneof = GOLDEN["messages"][message][field]
    if (message, field) in BYTES_FOR_STRING:
        words = words.replace("string", "bytes")
    if (message, field) in ENTRIES_FOR_MAP:
        assert words == "map<string,string>"
        words = ENTRIES_FOR_MAP[message, field][0]
    return [number, words, *oneof]


@pytest.mark.parametrize("message", GOLDEN["messages"])
def test_message_has_the_originals_fields(message: str) -> None:
    expected = {field: _expected_field(message, field) for field in GOLDEN["messages"][message]}
    assert OURS.messages.get(message) == expected


@pytest.mark.parametrize("enum", GOLDEN["enums"])
def test_enum_has_the_originals_values(enum: str) -> None:
    assert OURS.enums.get(enum) == GOLDEN["enums"][enum]


@pytest.mark.parametrize("service", GOLDEN["services"])
def test_service_has_the_originals_rpcs(service: str) -> None:
    assert OURS.services.get(service) == GOLDEN["services"][service]


def test_we_have_nothing_that_the_original_does_not_have() -> None:
    entries = {words.removeprefix("repeated "): fields for words, fields in ENTRIES_FOR_MAP.values()}
    assert {name: OURS.messages[name] for name in OURS.messages.keys() - GOLDEN["messages"].keys()} == entries
    assert OURS.enums.keys() == GOLDEN["enums"].keys()
    assert OURS.services.keys() == GOLDEN["services"].keys()


def test_every_file_is_proto3() -> None:
    # proto3 packs repeated enums and does not send absent fields.
    assert OURS.syntaxes == {"proto3"}
