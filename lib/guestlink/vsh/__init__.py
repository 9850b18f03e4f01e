"""The vsh protocol, both roles, without I/O: received bytes in, events out; messages in, bytes to send out
(chromeos-vsh.md §3).

The six messages are encoded and decoded here by hand: a session process that imports protobuf would start half as
fast, and the data frames are the hot path. The bytes equal protobuf's; `pb/vsh.proto` is the definition, and tests
compare the two.
"""

from __future__ import annotations

from guestlink.vsh.blocks import IncomingBlock, OutgoingBlock
from guestlink.vsh.decoding import decode_from_client, decode_from_server, decode_setup, decode_setup_answer
from guestlink.vsh.encoding import (
    DATA_LIMIT,
    SetupTooLarge,
    data_header,
    encode_data,
    encode_much_data,
    encode_resize,
    encode_setup,
    encode_setup_answer,
    encode_signal,
    encode_status,
)
from guestlink.vsh.messages import (
    NO_CWD,
    READY_IN_CWD,
    READY_TEXT,
    VM_SHELL,
    Bytes,
    Data,
    FromClient,
    FromServer,
    Resize,
    Setup,
    SetupAnswer,
    SignalRequest,
    Status,
    StatusChange,
    Stream,
    Unknown,
    death_signal,
    killed_by,
)
from guestlink.vsh.protocol import ClientProtocol, ProtocolError, ServerProtocol

__all__ = [
    "DATA_LIMIT",
    "NO_CWD",
    "READY_IN_CWD",
    "READY_TEXT",
    "VM_SHELL",
    "Bytes",
    "ClientProtocol",
    "Data",
    "FromClient",
    "FromServer",
    "IncomingBlock",
    "OutgoingBlock",
    "ProtocolError",
    "Resize",
    "ServerProtocol",
    "Setup",
    "SetupAnswer",
    "SetupTooLarge",
    "SignalRequest",
    "Status",
    "StatusChange",
    "Stream",
    "Unknown",
    "data_header",
    "death_signal",
    "decode_from_client",
    "decode_from_server",
    "decode_setup",
    "decode_setup_answer",
    "encode_data",
    "encode_much_data",
    "encode_resize",
    "encode_setup",
    "encode_setup_answer",
    "encode_signal",
    "encode_status",
    "killed_by",
]
