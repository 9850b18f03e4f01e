"""The protobuf messages as our code uses them, with any installed version of protobuf."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError

import guestlink
from guestlink.pb import (
    common_pb2,
    container_guest_pb2,
    container_host_pb2,
    file_contents,
    service_methods,
    vsh_pb2,
)


def test_message_survives_the_wire() -> None:
    request = container_host_pb2.UpdateApplicationListRequest(token="t")
    application = request.application.add(desktop_file_id="gimp", mime_types=["image/png", "image/gif"])
    application.name.values.add(locale="", value="GIMP")
    application.name.values.add(locale="de", value="Bildbearbeitung Ü")
    application.keywords.values.add(locale="", value=["picture", "photo"])
    again = container_host_pb2.UpdateApplicationListRequest.FromString(request.SerializeToString())
    assert again == request
    assert again.application[0].name.values[1].value == "Bildbearbeitung Ü"
    assert list(again.application[0].keywords.values[0].value) == ["picture", "photo"]


@pytest.mark.parametrize(
    ("message", "wire"),
    [
        # Encoded by hand: tag = number << 3 | wire type, then a varint, or a length and bytes.
        (container_host_pb2.OpenUrlRequest(url="a:b", token="t"), b"\x0a\x03a:b\x12\x01t"),
        (container_host_pb2.ContainerStartupInfo(token="t", garcon_port=10000), b"\x0a\x01t\x10\x90\x4e"),
        (container_guest_pb2.InstallLinuxPackageRequest(package_id="p", command_uuid="u"), b"\x2a\x01p\x32\x01u"),
        (container_guest_pb2.LaunchApplicationRequest(container_features=[1, 3]), b"\x22\x02\x01\x03"),
        (container_host_pb2.UpdateMimeTypesRequest(mime_type_mappings={"a": "b"}), b"\x12\x06\x0a\x01a\x12\x01b"),
        (container_host_pb2.Metric(name="m", value=-1), b"\x0a\x01m\x10" + b"\xff" * 9 + b"\x01"),
        (vsh_pb2.ConnectionStatusMessage(status=2, code=130), b"\x08\x02\x18\x84\x02"),
        (vsh_pb2.ConnectionStatusMessage(code=-1), b"\x18\x01"),
        (vsh_pb2.GuestMessage(signal=0), b"\x20\x00"),
        (vsh_pb2.GuestMessage(resize_message=vsh_pb2.WindowResizeMessage()), b"\x1a\x00"),
        (
            vsh_pb2.SetupConnectionRequest(env=[vsh_pb2.SetupConnectionRequest.Variable(key=b"A", value=b"\xff")]),
            b"\x1a\x06\x0a\x01A\x12\x01\xff",
        ),
        (
            vsh_pb2.SetupConnectionRequest(argv=[b"ls", b"\xe4.txt"], cwd=b"/"),
            b"\x2a\x02ls\x2a\x05\xe4.txt\x4a\x01/",
        ),
        (common_pb2.EmptyMessage(), b""),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, bytes) else value.hex()[:20],
)
def test_encoding_is_the_originals(message: Any, wire: bytes) -> None:
    assert message.SerializeToString() == wire
    assert type(message).FromString(wire) == message


def test_modules_look_like_generated_ones() -> None:
    feature = container_guest_pb2.ContainerFeature
    assert feature.Value("ENABLE_QT_IME_SUPPORT") == container_guest_pb2.ENABLE_QT_IME_SUPPORT == 3
    assert feature.Name(1) == "ENABLE_GTK3_IME_SUPPORT"
    status = container_guest_pb2.AddFileWatchResponse.Status
    assert dict(status.items()) == {"UNKNOWN": 0, "FAILED": 1, "SUCCEEDED": 2}
    assert container_guest_pb2.AddFileWatchResponse.SUCCEEDED == 2
    with pytest.raises(ValueError, match="77"):
        status.Name(77)
    nested = container_host_pb2.Application.LocalizedString.StringWithLocale
    assert nested(locale="fr", value="x").value == "x"
    assert container_host_pb2.DESCRIPTOR.package == "vm_tools.container"
    assert set(container_guest_pb2.DESCRIPTOR.services_by_name) == {"Garcon"}


def test_unknown_enum_values_and_fields_are_kept() -> None:
    # A newer host may send fields that this version does not have.
    newer = b"\x18\x09\xa2\x06\x03new"
    request = container_guest_pb2.LaunchApplicationRequest.FromString(newer)
    assert request.display_scaling == 9
    assert b"new" in request.SerializeToString()


def test_oneof_knows_which_member_is_set() -> None:
    message = vsh_pb2.GuestMessage(data_message=vsh_pb2.DataMessage(stream=vsh_pb2.STDIN_STREAM, data=b"x"))
    assert message.WhichOneof("msg") == "data_message"
    message.signal = vsh_pb2.SIGNAL_INT
    assert message.WhichOneof("msg") == "signal"
    assert not message.HasField("data_message")


def test_text_that_is_not_utf8_is_refused_on_the_wire() -> None:
    with pytest.raises((DecodeError, ValueError)):
        container_host_pb2.OpenUrlRequest.FromString(b"\x0a\x01\xff")


def test_service_methods_give_the_classes() -> None:
    methods = service_methods("vm_tools.container.ContainerListener")
    assert methods["OpenUrl"] == (container_host_pb2.OpenUrlRequest, common_pb2.EmptyMessage)
    assert len(methods) == 20


def test_unknown_names_are_key_errors() -> None:
    with pytest.raises(KeyError):
        file_contents("no.proto")
    with pytest.raises(KeyError):
        service_methods("vm_tools.container.None")


def test_the_default_pool_is_left_alone() -> None:
    # Another copy of the same files in the process must not conflict with ours.
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("vm_tools.container.Application")


@pytest.mark.parametrize("module", [common_pb2, container_guest_pb2, container_host_pb2, vsh_pb2])
def test_stubs_name_exactly_what_the_modules_have(module: Any) -> None:
    path = Path(module.__file__)
    stub = ast.parse(path.with_suffix(".pyi").read_text())
    contents = file_contents(path.name.replace("_pb2.py", ".proto"))
    assert _declared(stub) == contents.keys()
    for node in stub.body:
        if isinstance(node, ast.ClassDef):
            _check_class(node, contents[node.name])


def _declared(node: ast.Module | ast.ClassDef) -> set[str]:
    names = {part.name for part in node.body if isinstance(part, (ast.ClassDef, ast.FunctionDef))}
    names |= {str(getattr(part.target, "id", "")) for part in node.body if isinstance(part, ast.AnnAssign)}
    return names


def _check_class(node: ast.ClassDef, message: Any) -> None:
    descriptor = message.DESCRIPTOR
    maps = {nested.name for nested in descriptor.nested_types if nested.GetOptions().map_entry}
    expected = {
        "__init__",
        *descriptor.fields_by_name,
        *descriptor.nested_types_by_name,
        *descriptor.enum_types_by_name,
    }
    expected |= set(descriptor.enum_values_by_name)
    assert _declared(node) == expected - maps
    (constructor,) = (part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__")
    assert [argument.arg for argument in constructor.args.kwonlyargs] == [field.name for field in descriptor.fields]
    for name in _declared(node) - {"__init__"}:
        assert hasattr(message(), name)
    for part in node.body:
        if isinstance(part, ast.ClassDef):
            _check_class(part, getattr(message, part.name))


def test_importing_messages_imports_no_grpc() -> None:
    program = "import sys; from guestlink.pb import vsh_pb2; sys.exit('grpc' in sys.modules)"
    library = Path(guestlink.__file__).parents[1]
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": str(library)}, timeout=60)
