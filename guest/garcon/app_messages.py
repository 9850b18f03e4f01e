"""Applications as messages of the wire, within the size that the host receives. Pure (garcon.md §3.6, §1.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from garcon.app_list import Application
from guestlink.pb import container_host_pb2

SIZE_LIMIT = 4 * 1024 * 1024 - 64 * 1024
"""Bytes of all applications: gRPC's 4 MiB less room for the token and the frame."""
_ENTRY_OVERHEAD = 8
"""Bytes that a list element's tag and length take at most."""


class FittedList(NamedTuple):
    """An application list that fits.

    :ivar messages: the applications.
    :ivar left_out: one sentence about what the host is not told; ``""`` when it is told everything.
    """

    messages: list[container_host_pb2.Application]
    left_out: str


def application_message(application: Application) -> container_host_pb2.Application:
    """One application, complete."""
    entry = application.entry
    message = container_host_pb2.Application(
        desktop_file_id=application.desktop_file_id,
        mime_types=entry.mime_types,
        no_display=entry.no_display,
        startup_wm_class=entry.startup_wm_class,
        startup_notify=entry.startup_notify,
        package_id=application.package_id,
        executable_file_name=application.executable_file_name,
        exec=entry.exec,
        terminal=entry.terminal,
    )
    _localised(message.name, entry.names)
    _localised(message.comment, entry.comments)
    message.keywords.SetInParent()  # The sub-messages are there even when they are empty.
    for locale, words in sorted(entry.keywords.items()):
        message.keywords.values.add(locale=locale, value=words)
    return message


def _localised(message: container_host_pb2.Application.LocalizedString, texts: Mapping[str, str]) -> None:
    message.SetInParent()
    for locale, text in sorted(texts.items()):
        message.values.add(locale=locale, value=text)


def fit_list(applications: Iterable[Application], limit: int = SIZE_LIMIT) -> FittedList:
    """Make the list small enough: first keywords go, then comments, then translations, then applications.

    :param limit: bytes.
    """
    messages = [application_message(application) for application in applications]
    lost = []
    for what, shrink in _SHRINK:
        if _size(messages) <= limit:
            break
        for message in messages:
            shrink(message)
        lost.append(what)
    kept = _fitting(messages, limit)
    if dropped := len(messages) - len(kept):
        lost.append(f"the last {dropped} of {len(messages)} applications")
    left_out = f"the application list is too long for the host; left out: {', '.join(lost)}" if lost else ""
    return FittedList(kept, left_out)


def _size(messages: Sequence[container_host_pb2.Application]) -> int:
    return sum(message.ByteSize() + _ENTRY_OVERHEAD for message in messages)


def _fitting(
    messages: Sequence[container_host_pb2.Application], limit: int
) -> list[container_host_pb2.Application]:
    kept = []
    for message in messages:
        limit -= message.ByteSize() + _ENTRY_OVERHEAD
        if limit < 0:
            break
        kept.append(message)
    return kept


def _drop_keywords(message: container_host_pb2.Application) -> None:
    message.keywords.ClearField("values")


def _drop_comments(message: container_host_pb2.Application) -> None:
    message.comment.ClearField("values")


def _drop_translations(message: container_host_pb2.Application) -> None:
    default = [value.value for value in message.name.values if not value.locale]
    message.name.ClearField("values")
    message.name.values.add(locale="", value=default[0])


_SHRINK = (
    ("keywords", _drop_keywords),
    ("comments", _drop_comments),
    ("translations", _drop_translations),
)
"""What goes first when the list is too long."""
