"""The host's end of the channel for ports, beside a container that makes trouble."""

from __future__ import annotations

import os
import socket
import struct
import time

import pytest

from guestlink.port_channel import PortEndpoint, pack
from guestlink_host.border.ports import channel as channel_module
from guestlink_host.border.ports.channel import PortChannel
from guestlink_host.border.ports.poller import Poller
from guestlink_host.border.ports.sockets import received_socket


def test_a_container_that_reads_no_requests_loses_the_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "_UNREAD", 10_000)
    poller, lost = Poller(), list[bool]()
    channel = PortChannel(poller, lambda _message: None, lambda: lost.append(True))
    ours, theirs = socket.socketpair()
    with theirs:
        channel.open(ours)
        for _ in range(100_000):
            if not channel.is_open:
                break
            channel.tell({"watch": True})
        assert lost == [True]
        # What waits is sent on the next connection, and ends with that one, too.
        for _ in range(30_000):
            channel.ask({"list": True}, lambda _answer, _descriptor: None)
        ours, again = socket.socketpair()
        with again:
            again.shutdown(socket.SHUT_RD)
            channel.open(ours)
            assert not channel.is_open
            assert lost == [True, True]
    poller.close()


def test_a_container_that_reports_without_a_pause_is_read_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channel_module, "_BURST", 10_000)
    monkeypatch.setattr(channel_module, "_RATE", 10_000)
    poller, reports, answers = Poller(), list[bool](), list[float]()

    def answered(_answer: dict[str, object], _descriptor: int) -> None:
        answers.append(time.monotonic())
        poller.stop()

    channel = PortChannel(poller, lambda _message: reports.append(True), poller.stop)
    ours, theirs = socket.socketpair()
    with theirs:
        channel.open(ours)
        number = channel.ask({"list": True}, answered)
        began = time.monotonic()
        theirs.sendall(pack({"listening": []}) * 50)
        while len(reports) < 50:
            poller.later(0.0, poller.stop)
            poller.run()
        theirs.sendall(pack({"id": number}))
        poller.run()
        # The reports count more than 50 KiB: 10,000 bytes are free, and as many are made up for, in one second.
        assert answers
        assert answers[0] - began > 0.9
        channel.close()
    poller.close()


def test_a_file_that_answers_close_with_an_error_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a file of the container's own file system (FUSE) may, whose descriptor the container has passed."""
    closed = []

    def close(descriptor: int) -> None:
        closed.append(descriptor)
        raise OSError(5, "Input/output error")

    device = os.open("/dev/null", os.O_RDONLY)
    with monkeypatch.context() as patched:
        patched.setattr(os, "close", close)
        with pytest.raises(ValueError, match="this is no socket"):
            received_socket(device, PortEndpoint("tcp", "localhost", 9), listening=False)
        channel_module.close_received([-1, device])
    assert closed == [device, device]
    os.close(device)


def test_descriptors_without_a_request_are_closed() -> None:
    poller = Poller()
    channel = PortChannel(poller, lambda _message: poller.stop(), lambda: None)
    ours, theirs = socket.socketpair()
    with theirs, open("/dev/null", "rb") as device:
        channel.open(ours)
        before = os.listdir("/proc/self/fd")
        content = [pack({"id": 7}) + pack({"listening": []})]
        rights = struct.pack("4i", *[device.fileno()] * 4)
        theirs.sendmsg(content, [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
        poller.run()
        assert os.listdir("/proc/self/fd") == before
        channel.close()
    poller.close()
