"""Wire messages: one descriptor set, loaded at run time into a pool of our own.

Python code that protoc generates does not work with all protobuf versions of our targets; a descriptor set loads
with all of them, 3.12 to 7.36 (packaging.md §5.3). ``container_guest_pb2`` and its siblings are used like protoc's
modules. ``python -m guestlink.pb.generate`` generates them, their ``.pyi`` stubs and the descriptor set from the
``.proto`` files. The pool is private, so that another copy of the same files in the process cannot clash with ours.
"""

from __future__ import annotations

import os
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal import enum_type_wrapper

DESCRIPTOR_SET = "guestlink.binpb"


def _load() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    # Not importlib.resources, which takes more than a third of the time of this whole import.
    with open(os.path.join(os.path.dirname(__file__), DESCRIPTOR_SET), "rb") as file:
        descriptors = descriptor_pb2.FileDescriptorSet.FromString(file.read())
    for descriptor in descriptors.file:
        pool.AddSerializedFile(descriptor.SerializeToString())
    return pool


_pool = _load()

if hasattr(message_factory, "GetMessageClass"):  # protobuf 4.22 and newer
    _message_class = message_factory.GetMessageClass
else:
    _message_class = getattr(message_factory.MessageFactory(_pool), "GetPrototype")  # noqa: B009


def file_contents(name: str) -> dict[str, Any]:
    """The names in the module of a ``.proto`` file: messages, enums and enum values.

    :param name: the file's name, as in ``common.proto``.
    :raises KeyError: there is no such file.
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
    :raises KeyError: there is no such service.
    """
    methods = _pool.FindServiceByName(service).methods
    return {method.name: (_class_of(method.input_type), _class_of(method.output_type)) for method in methods}


def _class_of(descriptor: Any) -> Any:
    made = _message_class(descriptor)
    for nested in descriptor.nested_types:
        nested_class = _class_of(nested)
        if not hasattr(made, nested.name):  # Old and pure-Python versions leave this to generated code.
            setattr(made, nested.name, nested_class)
    return made
