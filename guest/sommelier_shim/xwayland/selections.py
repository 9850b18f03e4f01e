"""One X selection, CLIPBOARD or PRIMARY, and the host's clipboard: transfers in both directions. Pure.

ICCCM 2.0 §2: a program asks the owner to convert the selection to a target, and the owner writes the data into a
property of the asking window; large data comes in pieces (INCR). The host's clipboard is a list of MIME types and a
pipe for each transfer. The caller owns the pipes: it calls :meth:`XSelection.data` with what it has read, and
:meth:`XSelection.written` when a pipe has taken what :class:`WriteData` gave.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import NamedTuple, TypeAlias

from sommelier_shim.xwayland.window_manager.atoms import Atoms
from sommelier_shim.xwayland.window_manager.client_messages import send_event
from sommelier_shim.xwayland.x11.connection import X11Connection
from sommelier_shim.xwayland.x11.layout import Message
from sommelier_shim.xwayland.x11.messages import (
    Atom,
    ChangeProperty,
    ChangeWindowAttributes,
    ConvertSelection,
    DeleteProperty,
    EventMask,
    GetAtomName,
    GetAtomNameReply,
    GetProperty,
    GetPropertyReply,
    InternAtom,
    InternAtomReply,
    PropMode,
    SelectionNotify,
    SelectionRequest,
    SetSelectionOwner,
)

TYPE_LIMIT = 128
"""MIME types of a selection that are passed on."""
NAME_LIMIT = 200
"""Characters of a MIME type."""
NAMES_LIMIT = 4096
"""Names of atoms that are remembered."""
TRANSFER_LIMIT = 32
"""Transfers at a time in each direction; further ones wait."""
WAITING_LIMIT = 1024
"""Requests of X programs that wait; further ones are refused."""
WAITING_PIPES = 128
"""Pipes of the host's that wait; further ones are closed."""
_PROPERTIES = 4 * TRANSFER_LIMIT
"""Properties of our window for transfers, used by turns: an owner may still write to that of an ended transfer."""
PIECE = 256 * 1024
"""Bytes that travel in one property; more come in pieces."""
UTF8, PLAIN = "text/plain;charset=utf-8", "text/plain"
_TEXTS = {"UTF8_STRING": UTF8, "STRING": PLAIN, "TEXT": PLAIN}
"""MIME types by the targets of X programs that have none."""
_META = ("TARGETS", "TIMESTAMP", "MULTIPLE", "SAVE_TARGETS", "DELETE", "INSERT_SELECTION", "INSERT_PROPERTY")


class Offer(NamedTuple):
    """An X program has the selection: offer these MIME types to the host. None of them: nobody has it."""

    types: tuple[str, ...]


class Receive(NamedTuple):
    """An X program wants the host's data: open a pipe, and give what comes out to :meth:`XSelection.data`."""

    transfer: int
    type: str


class WriteData(NamedTuple):
    """Write to the pipe of a transfer that the host has begun; then call :meth:`XSelection.written`."""

    transfer: int
    data: bytes


class EndTransfer(NamedTuple):
    """Close the pipe of a transfer: everything has been written, or nothing more will come."""

    transfer: int


class Taken(NamedTuple):
    """The X program has taken a piece of a transfer: it does not stand still."""

    transfer: int


SelectionAction: TypeAlias = Offer | Receive | WriteData | EndTransfer | Taken


class _Multiple:
    """A request for several targets, which is answered when all of them are converted (ICCCM §2.6.2).

    :ivar event: the request; :ivar atoms: a target and a property by turns, 0 for what is refused.
    :ivar left: conversions that are not finished.
    """

    def __init__(self, event: SelectionRequest, atoms: list[int]) -> None:
        self.event = event
        self.atoms = atoms
        self.left = len(atoms) // 2


class _Conversion(NamedTuple):
    """One conversion that an X program has asked for.

    :ivar event: the request, or one that stands for a part of ``whole``.
    :ivar place: the index of its property there.
    """

    event: SelectionRequest
    whole: _Multiple | None = None
    place: int = 0


class _ToHost:
    """A transfer to the host.

    :ivar target: what the owner converts to.
    :ivar property: the atom of the property on our window; 0 before the server has named it.
    :ivar is_incremental: whether the owner sends pieces.
    :ivar is_waiting: whether the owner has written a property that we have not read.
    :ivar is_orphaned: whether the owner is gone.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.property = 0
        self.is_orphaned = False
        self.is_incremental = False
        self.is_waiting = False
        self.is_writing = False
        self.is_begun = False
        self.offset = 0

    @property
    def is_asked(self) -> bool:
        """Whether the owner has been asked and has not answered yet."""
        return bool(self.property) and not self.is_begun


class _ToProgram:
    """A transfer to an X program.

    :ivar request: what it has asked for.
    :ivar data: what the host has sent and the program has not got; :ivar is_complete: whether it is all.
    :ivar is_incremental: whether the program gets pieces; :ivar is_free: whether it has taken the last piece.
    """

    def __init__(self, request: _Conversion) -> None:
        self.request = request
        self.data = bytearray()
        self.is_complete = False
        self.is_incremental = False
        self.is_free = False
        self.is_last_sent = False


class XSelection:
    """One selection.

    :param x: the connection to the server, which is ready.
    :param name: CLIPBOARD or PRIMARY.
    :param window: a window of ours for properties.
    :ivar actions: what the caller has to do, in this order; the caller empties the list.
    """

    def __init__(self, x: X11Connection, atoms: Atoms, name: str, window: int) -> None:
        self.actions: list[SelectionAction] = []
        self.name = name
        self.window = window
        self._x = x
        self._atoms = atoms
        self._atom = atoms[name]
        self._asked: dict[int, tuple[str, object]] = {}
        self._targets: dict[str, int] = {}
        self._names: dict[int, str] = {}
        self._listing: list[int] = []
        self._host_types: tuple[str, ...] = ()
        self._is_ours = False
        self._time = 0
        self._numbers = 0
        self._to_host: dict[int, _ToHost] = {}
        self._to_programs: dict[int, _ToProgram] = {}
        self._waiting: deque[_Conversion] = deque()
        self._waiting_pipes: deque[tuple[int, str]] = deque()
        self._turn = 0

    # -- an X program owns it ------------------------------------------------------------------------------------

    def owner_changed(self, owner: int, time: int, *, is_gone: bool = False) -> None:
        """XFIXES tells who owns the selection now; 0 for nobody.

        :param is_gone: whether the last owner has ended: it will send nothing more.
        """
        self._time = time
        if is_gone:
            for transfer, one in list(self._to_host.items()):
                one.is_orphaned = True
                self._look_after(transfer, one)
        if owner == self.window:
            return
        self._is_ours = False
        self._targets.clear()
        if owner:
            self._convert("TARGETS", self._atoms["_GUESTLINK_TARGETS"])
        else:
            self.actions.append(Offer(()))

    def send(self, transfer: int, mime_type: str) -> None:
        """The host wants the data of the X program.

        :param transfer: a number of the caller's for the pipe.
        """
        target = self._targets.get(mime_type)
        if target is None:
            self.actions.append(EndTransfer(transfer))
        elif len(self._to_host) < TRANSFER_LIMIT:
            self._to_host[transfer] = _ToHost(target)
            self._turn = (self._turn + 1) % _PROPERTIES
            self._ask(InternAtom(False, f"_GUESTLINK_{self.name}_{self._turn}".encode()), ("property", transfer))
        elif len(self._waiting_pipes) < WAITING_PIPES:
            self._waiting_pipes.append((transfer, mime_type))
        else:
            self.actions.append(EndTransfer(transfer))

    def written(self, transfer: int) -> None:
        """The host has taken what :class:`WriteData` gave."""
        if (one := self._to_host.get(transfer)) is not None:
            one.is_writing = False
            self._read_on(transfer, one)
            self._look_after(transfer, one)

    def _look_after(self, transfer: int, one: _ToHost) -> None:
        """End a transfer whose owner is gone, when there is nothing left to read."""
        if one.is_orphaned and not one.is_waiting and not one.is_writing:
            self._end(transfer)

    def cancel(self, transfer: int) -> None:
        """The pipe of a transfer is broken, or takes too long."""
        self._waiting_pipes = deque(each for each in self._waiting_pipes if each[0] != transfer)
        one = self._to_host.pop(transfer, None)
        if one is not None:
            if one.property:
                self._x.request(DeleteProperty(self.window, one.property))
            self._begin_pipe()
        if (other := self._to_programs.pop(transfer, None)) is not None:
            if not other.is_incremental:
                self._answer(other.request, 0)
            self._begin_conversion()

    def _convert(self, target: str, into: int) -> None:
        self._x.request(ConvertSelection(self.window, self._atom, self._atoms[target], into, self._time))

    def notified(self, event: SelectionNotify) -> None:
        """The owner has converted the selection, or refuses to (SelectionNotify)."""
        if event.requestor != self.window or event.selection != self._atom:
            return
        if event.target == self._atoms["TARGETS"]:
            if event.property:
                self._ask(GetProperty(True, self.window, event.property, 0, 0, 1024), ("targets", None))
            return
        for transfer, one in list(self._to_host.items()):
            if one.property and event.property == one.property:
                one.is_waiting = True
                self._read_on(transfer, one)
            elif not event.property and event.target == one.target and one.is_asked:
                # A refusal names no property: it is for the oldest transfer of its target that has not begun.
                self._end(transfer)
                return

    def property_changed(self, property_: int, *, is_deleted: bool, window: int) -> None:
        """A property of our window, or of a program that we send to, has changed."""
        if window == self.window and not is_deleted:
            for transfer, one in list(self._to_host.items()):
                if one.property == property_ and one.is_incremental and one.is_begun:
                    one.is_waiting = True
                    self._read_on(transfer, one)
        elif is_deleted:
            for transfer, other in list(self._to_programs.items()):
                event = other.request.event
                if (event.requestor, event.property) == (window, property_) and other.is_incremental:
                    other.is_free = True
                    self._send_piece(transfer, other)

    def window_gone(self, window: int) -> None:
        """A window is destroyed; it may have asked for something."""
        self._waiting = deque(one for one in self._waiting if one.event.requestor != window)
        for transfer, other in list(self._to_programs.items()):
            if other.request.event.requestor == window:
                self._finish(transfer)

    def _read_on(self, transfer: int, one: _ToHost) -> None:
        if one.is_waiting and not one.is_writing:
            one.is_begun = True
            one.is_waiting, one.is_writing = False, True
            words = PIECE // 4
            self._ask(GetProperty(False, self.window, one.property, 0, one.offset // 4, words), ("data", transfer))

    def _end(self, transfer: int) -> None:
        self._to_host.pop(transfer, None)
        self.actions.append(EndTransfer(transfer))
        self._begin_pipe()

    def _begin_pipe(self) -> None:
        if self._waiting_pipes and len(self._to_host) < TRANSFER_LIMIT:
            self.send(*self._waiting_pipes.popleft())

    # -- replies -------------------------------------------------------------------------------------------------

    def _ask(self, message: Message, purpose: tuple[str, object]) -> None:
        self._asked[self._x.request(message)] = purpose

    def reply(self, number: int, message: Message | None) -> bool:
        """Take a reply to one of the selection's requests.

        :param message: ``None`` for an error.
        :returns: whether it was one.
        """
        purpose = self._asked.pop(number, None)
        if purpose is None:
            return False
        kind, detail = purpose
        if kind == "targets" and isinstance(message, GetPropertyReply):
            self._listed(message)
        elif kind == "name" and isinstance(detail, int):
            self._named(detail, message)
        elif kind == "atom" and isinstance(message, InternAtomReply) and isinstance(detail, str):
            self._targets[detail] = message.atom
        elif kind == "property" and isinstance(message, InternAtomReply) and isinstance(detail, int):
            if (one := self._to_host.get(detail)) is not None:
                one.property = message.atom
                self._x.request(DeleteProperty(self.window, message.atom))
                self._x.request(ConvertSelection(self.window, self._atom, one.target, message.atom, self._time))
        elif kind == "multiple" and isinstance(detail, SelectionRequest):
            self._multiple(detail, message)
        elif kind == "data" and isinstance(detail, int):
            self._received(detail, message)
        return True

    def _listed(self, reply: GetPropertyReply) -> None:
        count = len(reply.value) // 4 if reply.format == 32 else 0
        self.list_types(list(struct.unpack(f"<{count}I", reply.value[: 4 * count])))

    def list_types(self, atoms: list[int]) -> None:
        """The owner offers these targets; :class:`Offer` follows when the server has named them."""
        if len(self._names) > NAMES_LIMIT:
            self._names.clear()
        self._listing = atoms[:TYPE_LIMIT]
        for atom in self._listing:
            if atom not in self._names:
                self._names[atom] = ""
                self._ask(GetAtomName(atom), ("name", atom))
        self._offer()

    def _named(self, atom: int, message: Message | None) -> None:
        name = message.name.decode("latin-1") if isinstance(message, GetAtomNameReply) else "?"
        self._names[atom] = name if name.isascii() and name.isprintable() and len(name) <= NAME_LIMIT else "?"
        self._offer()

    def _offer(self) -> None:
        """Offer the types to the host when all of their names are known."""
        if not self._listing or not all(self._names.get(atom) for atom in self._listing):
            return
        listing, self._listing = self._listing, []
        names = {self._names[atom]: atom for atom in reversed(listing)}
        self._targets = {name: atom for name, atom in names.items() if "/" in name}
        for target, mime_type in _TEXTS.items():
            if target in names:
                self._targets.setdefault(mime_type, names[target])
        if PLAIN in self._targets and "UTF8_STRING" in names:
            self._targets[PLAIN] = names["UTF8_STRING"]
        self.actions.append(Offer(tuple(self._targets)))

    def _received(self, transfer: int, message: Message | None) -> None:
        """A piece of an X program's data has come."""
        one = self._to_host.get(transfer)
        if one is None:
            return
        if not isinstance(message, GetPropertyReply) or not message.type:
            self._end(transfer)
            return
        if message.type == self._atoms["INCR"]:
            # The owner begins to send pieces when we delete the property.
            one.is_incremental, one.is_writing = True, False
            self._x.request(DeleteProperty(self.window, one.property))
            self._look_after(transfer, one)
            return
        one.offset += len(message.value)
        if message.value:
            self.actions.append(WriteData(transfer, message.value))
        if message.bytes_after:
            one.is_waiting = True
            if not message.value:
                self._end(transfer)
            return
        self._x.request(DeleteProperty(self.window, one.property))
        one.offset = 0
        if not one.is_incremental or not message.value:
            self._end(transfer)

    # -- the host owns it ----------------------------------------------------------------------------------------

    def host_offers(self, types: tuple[str, ...]) -> None:
        """The host's clipboard has other contents: take the selection, or leave it if there are none."""
        self._host_types = tuple(name for name in types[:TYPE_LIMIT] if len(name) <= NAME_LIMIT)
        if not self._host_types:
            if self._is_ours:
                self._is_ours = False
                self._x.request(SetSelectionOwner(0, self._atom, 0))
            return
        self._targets.clear()
        for name in self._host_types:
            self._ask(InternAtom(False, name.encode("ascii", "replace")), ("atom", name))
        self._is_ours = True
        self._x.request(SetSelectionOwner(self.window, self._atom, 0))

    @property
    def is_named(self) -> bool:
        """Whether the server has named all types that the host offers."""
        return len(self._targets) >= len(set(self._host_types)) > 0

    @property
    def time(self) -> int:
        """When the selection was taken."""
        return self._time

    def dropped_at(self, time: int) -> None:
        """The owner wants this time in requests: that of its drop."""
        self._time = time

    def offered_atoms(self) -> list[int]:
        """The targets that the host's data can be converted to."""
        texts = [self._atoms[text] for text, mime_type in _TEXTS.items() if mime_type in self._host_types]
        return [*self._targets.values(), *texts]

    def requested(self, event: SelectionRequest) -> None:
        """An X program asks for the selection that we own (SelectionRequest)."""
        if self._atoms.name(event.target) == "MULTIPLE":
            if event.property:
                words = 2 * TYPE_LIMIT
                self._ask(GetProperty(False, event.requestor, event.property, 0, 0, words), ("multiple", event))
            else:
                self._answer(_Conversion(event), 0)
            return
        if event.property == 0:  # An obsolete client (ICCCM §2.2).
            event = SelectionRequest(
                event.time, event.owner, event.requestor, event.selection, event.target, event.target
            )
        self._convert_for(_Conversion(event))

    def _multiple(self, event: SelectionRequest, message: Message | None) -> None:
        """The targets of a MULTIPLE request have come."""
        value = message.value if isinstance(message, GetPropertyReply) and message.format == 32 else b""
        atoms = list(struct.unpack(f"<{len(value) // 8 * 2}I", value[: len(value) // 8 * 8]))
        if not atoms or (isinstance(message, GetPropertyReply) and message.bytes_after):
            self._answer(_Conversion(event), 0)
            return
        whole = _Multiple(event, atoms)
        for at in range(0, len(atoms), 2):
            target, into = atoms[at], atoms[at + 1]
            part = SelectionRequest(event.time, event.owner, event.requestor, event.selection, target, into)
            conversion = _Conversion(part, whole, at + 1)
            if into and self._atoms.name(target) != "MULTIPLE":
                self._convert_for(conversion)
            else:
                self._answer(conversion, 0)

    def _convert_for(self, request: _Conversion) -> None:
        """Convert to one target."""
        target = self._atoms.name(request.event.target)
        if not self._is_ours:
            self._answer(request, 0)
        elif target == "TARGETS":
            atoms = [self._atoms[name] for name in ("TARGETS", "TIMESTAMP", "MULTIPLE")] + self.offered_atoms()
            self._set(request, Atom.ATOM, 32, struct.pack(f"<{len(atoms)}I", *atoms))
        elif target == "TIMESTAMP":
            self._set(request, Atom.INTEGER, 32, struct.pack("<I", self._time))
        elif not (mime_type := self._type_of(request.event.target)) or len(self._waiting) >= WAITING_LIMIT:
            self._answer(request, 0)
        elif len(self._to_programs) >= TRANSFER_LIMIT:
            self._waiting.append(request)
        else:
            self._numbers += 1
            self._to_programs[-self._numbers] = _ToProgram(request)
            self.actions.append(Receive(-self._numbers, mime_type))

    def _begin_conversion(self) -> None:
        if self._waiting and len(self._to_programs) < TRANSFER_LIMIT:
            self._convert_for(self._waiting.popleft())

    def _finish(self, transfer: int) -> None:
        """A program has got everything, or is gone."""
        self._to_programs.pop(transfer, None)
        self.actions.append(EndTransfer(transfer))
        self._begin_conversion()

    def _type_of(self, target: int) -> str:
        for mime_type, atom in self._targets.items():
            if atom == target and mime_type in self._host_types:
                return mime_type
        name = self._atoms.name(target)
        wanted = _TEXTS.get(name, "")
        return wanted if wanted in self._host_types else UTF8 if wanted and UTF8 in self._host_types else ""

    def data(self, transfer: int, data: bytes) -> bool:
        """The host has sent data of a transfer.

        :param data: empty at the end.
        :returns: whether the caller may read on; else it waits for :meth:`wants`.
        """
        other = self._to_programs.get(transfer)
        if other is None:
            return False
        other.data += data
        other.is_complete = not data
        if not other.is_incremental:
            if other.is_complete and len(other.data) <= PIECE:
                self._set(other.request, other.request.event.target, 8, bytes(other.data))
                self._finish(transfer)
            elif len(other.data) > PIECE:
                other.is_incremental = True
                requestor = other.request.event.requestor
                self._x.request(ChangeWindowAttributes(requestor, {"event_mask": EventMask.PROPERTY_CHANGE}))
                self._set(other.request, self._atoms["INCR"], 32, struct.pack("<I", len(other.data)))
        elif other.is_free:
            self._send_piece(transfer, other)
        return self.wants(transfer)

    def wants(self, transfer: int) -> bool:
        """Whether a transfer to a program has room for more data."""
        other = self._to_programs.get(transfer)
        return other is not None and len(other.data) <= PIECE and not other.is_complete

    def _send_piece(self, transfer: int, other: _ToProgram) -> None:
        """Give the program its next piece, if there is one; an empty one is the end."""
        if not other.data and not other.is_complete:
            return
        piece = bytes(other.data[:PIECE])
        del other.data[:PIECE]
        other.is_free = False
        event = other.request.event
        self._x.request(
            ChangeProperty(PropMode.REPLACE, event.requestor, event.property, event.target, 8, len(piece), piece)
        )
        self.actions.append(Taken(transfer))
        if not piece:
            self._finish(transfer)

    def _set(self, request: _Conversion, kind: int, form: int, data: bytes) -> None:
        """Write the property that a program has asked for, and tell it."""
        event, count = request.event, len(data) * 8 // form
        self._x.request(ChangeProperty(PropMode.REPLACE, event.requestor, event.property, kind, form, count, data))
        self._answer(request, event.property)

    def _answer(self, request: _Conversion, property_: int) -> None:
        """Tell a program that its conversion is there; 0 refuses it. A MULTIPLE waits for its other parts."""
        event = request.event
        if (whole := request.whole) is not None:
            if not property_:
                whole.atoms[request.place] = 0
            whole.left -= 1
            if whole.left:
                return
            event, count = whole.event, len(whole.atoms)
            data = struct.pack(f"<{count}I", *whole.atoms)
            pair, property_ = self._atoms["ATOM_PAIR"], event.property
            self._x.request(ChangeProperty(PropMode.REPLACE, event.requestor, property_, pair, 32, count, data))
        notify = SelectionNotify(event.time, event.requestor, event.selection, event.target, property_)
        send_event(self._x, event.requestor, EventMask.NO_EVENT, notify)
