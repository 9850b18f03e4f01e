"""A packed application list is read as protobuf reads it, without its applications' memory."""

from __future__ import annotations

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from guestlink.pb import container_host_pb2 as pb
from guestlink_host.launchers.applications import LIST_LIMIT
from guestlink_host.listener.packed_list import ENTRY_LIMIT, read_packed_list
from support.fake_garcon import application


def packed(*applications: pb.Application, token: str = "secret") -> bytes:
    return bytes(pb.UpdateApplicationListRequest(token=token, application=applications).SerializeToString())


def test_a_list_is_read_as_it_was_packed() -> None:
    applications = [
        application("a", comments={"": "one", "de": "eins"}),
        application("b", mime_types=["text/x"] * 99),
    ]
    read = read_packed_list(packed(*applications))
    assert read.token == "secret"
    assert list(read) == applications
    assert list(read) == applications  # Once more, if writing has failed.


def test_the_token_counts_wherever_it_is_and_unknown_fields_are_passed_over() -> None:
    content = packed(application("a"), token="old")
    unknown = b"\x78\x05" + b"\x85\x01abcd" + b"\x81\x0112345678" + b"\x8a\x01\x02hi"
    assert read_packed_list(unknown + content + b"\x0a\x03new" + unknown).token == "new"


def test_two_million_empty_applications_are_read_as_one_more_than_the_host_shows() -> None:
    assert len(read_packed_list(b"\x12\0" * 2_000_000)) == LIST_LIMIT + 1


def test_an_application_that_cannot_be_read_costs_only_itself() -> None:
    too_long = application("c" * 100, exec="x" * ENTRY_LIMIT)
    content = packed(application("a")) + b"\x12\x02\x0a\x7f" + packed(too_long, application("d"))
    assert [each.desktop_file_id for each in read_packed_list(content)] == ["a", "", "", "d"]


@given(st.binary(max_size=300))
def test_bytes_that_protobuf_cannot_read_are_refused_or_have_no_application(content: bytes) -> None:
    try:
        read = read_packed_list(content)
    except ValueError:
        return
    try:
        expected = pb.UpdateApplicationListRequest.FromString(content)
    except (DecodeError, ValueError):
        return  # Only an application's own content is left unread.
    assert (read.token, list(read)) == (expected.token, list(expected.application))


@pytest.mark.parametrize("content", [b"\x0a", b"\x0a\x05abc", b"\x0b", b"\x0a\x01\xff", b"\xff" * 11, b"\x00\x00"])
def test_what_is_no_request_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        read_packed_list(content)
