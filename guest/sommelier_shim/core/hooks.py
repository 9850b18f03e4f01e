"""Hooks: functions that read, change, replace or drop messages of one interface. This page is the whole contract.

**What a hook gets.** ``hook(flow, object_id, at, stop)``. ``flow`` is the direction of the message
(:class:`~sommelier_shim.core.relay.Flow`), ``flow.relay`` the client's connection, and ``flow.buffer[at:stop]`` the
whole message with its header, at least ``min_size`` bytes of its layout. Descriptors of the message are the first
ones of ``flow.received``; a hook may look at them and leaves them there.

**Arguments and opcodes have names.** A module looks up its messages when it is imported, so a misspelt name fails
at once::

    _read_attach = request("wl_surface", "attach").reader("buffer")     # sommelier_shim.core.layouts

    def _attach(flow: Flow, object_id: int, at: int, stop: int) -> None:
        (buffer,) = _read_attach(flow.buffer, at)

A layout has ``reader`` and ``writer`` for arguments at a fixed offset, ``decoder`` for messages with strings or
arrays, and ``encode``, which makes a message. A reader needs no check, because the message has at least
``min_size`` bytes; a decoder raises WireError. Readers and writers use raw 24.8 integers for fixed-point numbers,
``decoder`` and ``encode`` use floats.

**What a hook may do.**

- Change arguments of the message in place.
- Add messages for the receiver: before the message with ``flow.prefix += data``, after it with
  ``flow.suffix += data``. A hook never calls the receiver's ``relay.to_host`` or ``relay.to_client``, because the
  flow may still hold earlier messages for the receiver.
- Set ``flow.deferred_suffix`` to a function that returns more bytes for the suffix. The relay calls it after the
  message has created its objects, so it can use their ids. Only one hook of a message can set it.
- Send to the message's sender: ``relay.to_client(data, None)`` in a hook of a request,
  ``relay.to_host(data, None)`` in a hook of an event.
- Keep state under a :class:`FeatureKey`, but not ``flow.buffer`` or a view of it.

**What a hook returns.** ``None``: go on with the next hook; after the last one the relay forwards the message.
``b""``: drop the message; the relay closes its descriptors. Other bytes: send these instead; the relay
handles the first message of them as it would have handled the original. Bytes and ``b""`` end the chain. Prefix and
suffix are sent in each case.

**Ids.** A hook sees the ids of the sender: client ids in requests, host ids in events, for the object and in all
arguments. Without objects of the proxy's own both are the same. With them
(:class:`~sommelier_shim.core.translation.TranslatingRelay`) the relay translates the message, or the first message
of the bytes that replace it, after the last hook. All other messages that a hook makes (the rest of a replacement,
prefix, suffix, what it sends) have the ids of the side that gets them: ``relay.host_id(client_id)``,
``relay.client_id(host_id)``, 0 for an object that the other side does not have. State about a client's object has
the client id as key.

**Objects.** The relay adds and removes objects after the hooks, unless they drop the message. A hook that drops a
request with a new id adds the object itself (``add_virtual``); one that drops an event with a new id calls
``hide_from_client``.

**Order.** Hooks of one message run in the order of their :class:`Phase`; the order inside a phase has no meaning,
and no hook may depend on it. The trace records a message before all hooks.

**Exceptions.** :class:`~sommelier_shim.core.wire.WireError` says that the sender broke the protocol, and ends the
connection with ``wl_display.error``. Every other exception is a fault of the proxy, and ends this connection, too.

**What a hook on a new interface touches**: the module of the hook; ``proxy.py``, which installs it; and
``options.py`` if it has a setting. The XML file of an interface that the tables do not have goes below
``protocols/``; ``python -m sommelier_shim.protocols.generate`` then writes ``core/tables.py``. Each of its messages
with numbers gets a line in ``protocols/numbers.txt``.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from enum import IntEnum
from typing import Generic, TypeVar

from sommelier_shim.core.layouts import event, interface_layout, request
from sommelier_shim.core.relay import Flow, Hook, Relay

T = TypeVar("T")


class Phase(IntEnum):
    """When a hook of a message runs."""

    CHECK = 0
    """May drop the message before a feature sees it: inert objects."""
    OBSERVE = 1
    """Records arguments, which are as the sender sent them: a client's numbers in client units, a host's in host
    units. Leaves the message as it is, but may add prefix and suffix."""
    CONVERT = 2
    """Converts numbers in place, from the sender's units to the receiver's."""
    REPLACE = 3
    """Changes, replaces or drops the message."""
    FINISH = 4
    """Runs last, if no hook has replaced the message."""


class FeatureKey(Generic[T]):
    """The key of a feature's state in :attr:`Relay.features`.

    :param name: for people who read a debugger.
    :param create: returns the state of a new client.
    """

    __slots__ = ("_create", "name")

    def __init__(self, name: str, create: Callable[[], T]) -> None:
        self.name = name
        self._create = create

    def of(self, relay: Relay) -> T:
        """The state of one client, created at its first use."""
        try:
            found: T = relay.features[self]
        except KeyError:
            found = relay.features[self] = self._create()
        return found

    def set(self, relay: Relay, value: T) -> None:
        """Replace the state of one client."""
        relay.features[self] = value

    def __repr__(self) -> str:
        return f"FeatureKey({self.name!r})"


class MessageHooks:
    """Hooks by interface and message."""

    def __init__(self) -> None:
        self._requests: dict[tuple[str, str], list[tuple[Phase, Hook]]] = {}
        self._events: dict[tuple[str, str], list[tuple[Phase, Hook]]] = {}

    def on_request(self, interface: str, name: str, hook: Hook, phase: Phase) -> None:
        """Call a hook for a request.

        :raises KeyError: the tables do not have the request.
        """
        request(interface, name)
        self._requests.setdefault((interface, name), []).append((phase, hook))

    def on_event(self, interface: str, name: str, hook: Hook, phase: Phase) -> None:
        """Call a hook for an event.

        :raises KeyError: the tables do not have the event.
        """
        event(interface, name)
        self._events.setdefault((interface, name), []).append((phase, hook))

    def of(self, interface: str, name: str, *, is_request: bool) -> list[Hook]:
        """The hooks of a message in the order in which they run."""
        found = (self._requests if is_request else self._events).get((interface, name), [])
        return [hook for _, hook in sorted(found, key=lambda item: item[0])]


class Hooks(MessageHooks):
    """Hooks by interface and message, and functions that run at other moments.

    :ivar at_start: called with each new relay.
    :ivar at_bind: by interface, see :meth:`on_bind`; :ivar own_handlers: by interface and name, see
        :meth:`on_own_event`; :ivar at_own_global: by interface, see :meth:`on_own_global`.
    :ivar at_own_removal: called with the flow of events and the name for each global_remove that the proxy's own
        registry receives; returns the events for the client.
    :ivar at_outputs_moved: called with each relay when the proxy's own connection has received other positions of
        outputs.
    :ivar checks: called with a copy of the hooks of messages when the first client needs those of
        :attr:`Phase.CHECK`, to add them. Other clients pay nothing for them.
    """

    def __init__(self) -> None:
        super().__init__()
        self.at_start: list[Callable[[Relay], None]] = []
        self.own_handlers: dict[str, dict[str, Hook]] = {}
        self.descriptor_takers: set[tuple[str, str]] = set()
        self.at_bind: dict[str, list[Callable[[Flow, int, int, int], None]]] = {}
        self.at_own_global: dict[str, Callable[[Flow, int, int], None]] = {}
        self.at_own_removal: list[Callable[[Flow, int], bytes]] = []
        self.at_outputs_moved: list[Callable[[Relay], None]] = []
        self.checks: list[Callable[[MessageHooks], None]] = []

    def on_own_event(self, interface: str, name: str, handler: Hook, *, takes_descriptors: bool = False) -> None:
        """Call a handler for an event of the proxy's own objects; the relay drops their other events. The handler
        gets the host id, and returns events for the client, with client ids.

        :param takes_descriptors: whether the handler takes the event's descriptors out of ``flow.received``; else
            the relay closes them.
        :raises KeyError: the tables do not have the event.
        :raises ValueError: the event has a handler.
        """
        event(interface, name)
        handlers = self.own_handlers.setdefault(interface, {})
        if name in handlers:
            raise ValueError(f"{interface}.{name} of the proxy's own objects has a handler")
        handlers[name] = handler
        if takes_descriptors:
            self.descriptor_takers.add((interface, name))

    def on_own_global(self, interface: str, function: Callable[[Flow, int, int], None]) -> None:
        """Call a function when the proxy's own registry receives a global: with the flow of events, the global's
        name and its version.

        :raises KeyError: the tables do not have the interface.
        :raises ValueError: the interface has a function.
        """
        interface_layout(interface)
        if interface in self.at_own_global:
            raise ValueError(f"{interface} has a function for the proxy's own registry")
        self.at_own_global[interface] = function

    def on_bind(self, interface: str, function: Callable[[Flow, int, int, int], None]) -> None:
        """Call a function when the client binds a global: with the flow of requests, the global's name, the version
        that the client asked for and the new object's client id.

        :raises KeyError: the tables do not have the interface.
        """
        interface_layout(interface)
        self.at_bind.setdefault(interface, []).append(function)

    def with_checks(self) -> Hooks:
        """A copy of these hooks with those of :attr:`Phase.CHECK`."""
        messages = MessageHooks()
        messages._requests = {key: list(chain) for key, chain in self._requests.items()}
        messages._events = {key: list(chain) for key, chain in self._events.items()}
        for install in self.checks:
            install(messages)
        found = copy(self)
        found._requests, found._events = messages._requests, messages._events
        return found
