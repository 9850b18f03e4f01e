"""Runs the start of a session before there is a client, so that no client waits for it."""

from __future__ import annotations

import contextlib
import os
import select
import socket

from guestlink.vsh import READY_TEXT, Setup, SetupAnswer, Status, encode_setup, encode_setup_answer
from vshd.account import Refused
from vshd.client import Client
from vshd.poll_set import PollSet
from vshd.session_defaults import SessionDefaults
from vshd.target import waiting_target
from vshd.waiting_child import WaitingChild


def rehearse(defaults: SessionDefaults) -> WaitingChild:
    """Run the start of a session without a client and without a program.

    This process then has its own copies of the memory pages that a session uses, so that no client waits for the
    kernel to copy them. The child is forked first: a fork shares all pages again.

    :returns: the child that can become the target; the session's process must be its parent.
    :raises OSError: there are no more processes or descriptors.
    """
    child = waiting_target()
    setup = Setup(env={b"TERM": b"linux"}, argv=(b"true",), rows=24, cols=80)
    # Complete variables: a rehearsal asks no user manager.
    defaults = defaults._replace(inherited={}, is_complete=True)
    ours, theirs = socket.socketpair()
    with ours, theirs, contextlib.suppress(Refused, OSError):
        client, polled = Client(ours), PollSet()
        for _ in client.events(encode_setup(setup)):
            defaults.environ(setup, defaults.account(setup))
        polled.replace({client.fileno(): select.POLLIN})
        client.send(encode_setup_answer(SetupAnswer(Status.READY, READY_TEXT, os.getpid())))
        polled.poll(0)
        terminal, slave = os.openpty()
        os.close(slave)
        os.close(terminal)
    return child
