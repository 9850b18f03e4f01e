"""Messages of the wire: one descriptor set, loaded at run time into a pool of our own.

Python code that protoc generates does not span the protobuf versions of our targets (packaging.md §5.3), while a
descriptor set loads on all of them. ``container_guest_pb2`` and its siblings look like generated modules, and
their ``.pyi`` stubs are; ``python -m guestlink.pb.generate`` makes everything from the ``.proto`` files.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper

DESCRIPTOR_SET = "guestlink.binpb"

_pool = descriptor_pool.DescriptorPool()
_classes: dict[str, Any] = {}


def _load() -> None:
    content = (files(__name__) / DESCRIPTOR_SET).read_bytes()
    for file in descriptor_pb2.FileDescriptorSet.FromString(content).file:
        _pool.AddSerializedFile(file.SerializeToString())


_load()

if hasattr(message_factory, "GetMessageClass"):  # protobuf 4.22 and newer
    _message_class = message_factory.GetMessageClass
else:
    _message_class = getattr(message_factory.MessageFactory(_pool), "GetPrototype")  # noqa: B009


def message_class(full_name: str) -> Any:
    """The class of a message.

    :param full_name: for example ``vm_tools.container.Application``.
    :raises KeyError: there is no such message.
    """
    if (known := _classes.get(full_name)) is not None:
        return known
    return _class_of(_pool.FindMessageTypeByName(full_name))


def _class_of(descriptor: Any) -> Any:
    made = _classes.get(descriptor.full_name)
    if made is None:
        made = _classes[descriptor.full_name] = _message_class(descriptor)
        for nested in descriptor.nested_types:
            nested_class = _class_of(nested)
            if not hasattr(made, nested.name):  # Old and pure-Python versions leave it to generated code.
                setattr(made, nested.name, nested_class)
    return made


def file_contents(name: str) -> dict[str, Any]:
    """What a generated module of a ``.proto`` file has: messages, enums and the enums' values.

    :param name: the file's name, as in ``common.proto``.
    """
    descriptor = _pool.FindFileByName(name)
    contents: dict[str, Any] = {"DESCRIPTOR": descriptor}
    for enum_name, enum in descriptor.enum_types_by_name.items():
        contents[enum_name] = enum_type_wrapper.EnumTypeWrapper(enum)
        contents |= {value.name: value.number for value in enum.values}
    for message_name, message in descriptor.message_types_by_name.items():
        contents[message_name] = _class_of(message)
    return contents


def service_methods(service: str) -> dict[str, tuple[Any, Any]]:
    """The RPCs of a service with the classes of their requests and responses.

    :param service: full name, as in ``vm_tools.container.Garcon``.
    """
    methods = _pool.FindServiceByName(service).methods
    return {method.name: (_class_of(method.input_type), _class_of(method.output_type)) for method in methods}
