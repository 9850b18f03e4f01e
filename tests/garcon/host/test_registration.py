"""Registration as a state machine: it never gets stuck, always gives a reason, and backs off after failures."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from garcon.host.registration import Registration, RegistrationPhase


def _registration() -> Registration:
    return Registration("vsock:2:8889", dice=lambda: 0.0)


def test_back_off_grows_to_its_limit_and_starts_again_after_success() -> None:
    registration = _registration()
    registration.attempt("t")
    delays = []
    for _ in range(8):
        registration.rejected("no")
        delays.append(registration.delay())
    assert delays == [1, 2, 4, 8, 16, 30, 30, 30]
    registration.accepted()
    assert registration.delay() == 0
    registration.rejected("no")
    assert registration.delay() == 1


def test_a_host_that_is_away_is_looked_for_within_a_second() -> None:
    registration = _registration()
    for _ in range(100):
        registration.unreachable("refused")
    assert 0.5 < registration.delay() < 1


def test_a_new_token_ends_a_long_back_off() -> None:
    registration = _registration()
    registration.attempt("old")
    for _ in range(10):
        registration.rejected("no")
    registration.attempt("new")
    registration.rejected("no")
    assert registration.delay() == 1


def test_jitter_only_shortens() -> None:
    registration = Registration("h", dice=lambda: 1.0)
    registration.rejected("no")
    assert registration.delay() == 0.8


def test_every_state_has_a_sentence_with_its_reason() -> None:
    registration = _registration()
    registration.token_missing("there is no file")
    assert registration.sentence == "waiting for a token: there is no file"
    registration.attempt("t")
    assert registration.sentence == "registering with the host at vsock:2:8889"
    registration.unreachable("refused")
    assert registration.sentence == "waiting for the host: refused"
    registration.rejected("unknown token")
    assert registration.sentence == "the host at vsock:2:8889 does not accept this container: unknown token"
    registration.host_too_old("it has no socket")
    assert registration.sentence == (
        "the host at vsock:2:8889 is too old for this Guestlink: it has no socket; upgrade guestlink-host there"
    )
    registration.accepted()
    assert registration.sentence == "registered with the host at vsock:2:8889"
    assert registration.registered


_EVENTS = {
    "missing": lambda r: r.token_missing("m"),
    "attempt": lambda r: r.attempt("t"),
    "unreachable": lambda r: r.unreachable("u"),
    "rejected": lambda r: r.rejected("r"),
    "too old": lambda r: r.host_too_old("o"),
    "accepted": lambda r: r.accepted(),
    "lost": lambda r: r.lost("l"),
}


@given(st.lists(st.sampled_from(sorted(_EVENTS))))
def test_whatever_happens_there_is_a_bounded_delay_and_a_sentence(events: list[str]) -> None:
    registration = _registration()
    for event in events:
        _EVENTS[event](registration)
        assert 0 <= registration.delay() <= 30
        assert registration.sentence
        assert registration.registered == (registration.phase is RegistrationPhase.REGISTERED)
