"""Applications as protobuf messages, within the host's receive limit. Pure (chromeos-garcon.md §3.6, §1.1)."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from garcon.desktop.app_list import PublishedApplication
from garcon.desktop.desktop_entry import split_list
from guestlink.pb import container_host_pb2

SIZE_LIMIT = 4 * 1024 * 1024 - 64 * 1024
"""Bytes of all applications: gRPC's 4 MiB minus space for the token and the frame."""
_ENTRY_OVERHEAD = 8
"""Bytes that a list element's tag and length take at most."""


class FittedList(NamedTuple):
    """An application list that fits.

    :ivar messages: the applications.
    :ivar left_out: one sentence about everything dropped from the list; ``""`` if the list is complete.
    """

    messages: list[container_host_pb2.Application]
    left_out: str


def application_message(application: PublishedApplication) -> container_host_pb2.Application:
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
    message.keywords.SetInParent()  # Sub-messages are sent even if they are empty.
    for locale, words in sorted(entry.keywords.items()):
        message.keywords.values.add(locale=locale, value=split_list(words))
    return message


def _localised(message: container_host_pb2.Application.LocalizedString, texts: Mapping[str, str]) -> None:
    message.SetInParent()
    for locale, text in sorted(texts.items()):
        message.values.add(locale=locale, value=text)


def fit_list(applications: Iterable[PublishedApplication], limit: int = SIZE_LIMIT) -> FittedList:
    """Make the list small enough.

    The largest application shrinks first, so that one absurd file affects no other application. It loses its
    keywords, then its comments, then its translations; last the application itself is dropped.

    :param limit: bytes.
    """
    messages = [application_message(application) for application in applications]
    sizes = [message.ByteSize() + _ENTRY_OVERHEAD for message in messages]
    total = sum(sizes)
    largest = [(-size, index, 0) for index, size in enumerate(sizes)] if total > limit else []
    heapq.heapify(largest)
    lost = [0] * len(_SHRINK)
    dropped: set[int] = set()
    while total > limit:
        size, index, step = heapq.heappop(largest)
        total += size
        if step == len(_SHRINK):
            dropped.add(index)
            continue
        lost[step] += _SHRINK[step][1](messages[index])
        left = messages[index].ByteSize() + _ENTRY_OVERHEAD
        total += left
        heapq.heappush(largest, (-left, index, step + 1))
    parts = [f"{what} of {count}" for (what, _), count in zip(_SHRINK, lost, strict=True) if count]
    if dropped:
        parts.append(
            f"{len(dropped)} of {len(messages)} applications, such as {messages[min(dropped)].desktop_file_id}"
        )
    left_out = f"the application list is too long for the host; left out: {', '.join(parts)}" if parts else ""
    return FittedList([message for index, message in enumerate(messages) if index not in dropped], left_out)


def _drop_keywords(message: container_host_pb2.Application) -> bool:
    had = bool(message.keywords.values)
    message.keywords.ClearField("values")
    return had


def _drop_comments(message: container_host_pb2.Application) -> bool:
    had = bool(message.comment.values)
    message.comment.ClearField("values")
    return had


def _drop_translations(message: container_host_pb2.Application) -> bool:
    default = [value.value for value in message.name.values if not value.locale]
    had = len(message.name.values) > len(default)
    message.name.ClearField("values")
    for text in default:
        message.name.values.add(locale="", value=text)
    return had


_SHRINK: tuple[tuple[str, Callable[[container_host_pb2.Application], bool]], ...] = (
    ("keywords", _drop_keywords),
    ("comments", _drop_comments),
    ("translations", _drop_translations),
)
"""The steps of shrinking an application, in order; each returns whether it dropped anything."""
