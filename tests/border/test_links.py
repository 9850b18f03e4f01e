"""What the host promises about the links that a container asks to open."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from guestlink.rpc import CallFailed
from guestlink_host.border.question_pause import QuestionPause
from guestlink_host.border.repeat_count import RepeatCount
from guestlink_host.border.url_policy import translate_url
from support.fake_garcon import FakeGarcon
from support.host import LIMIT, Host, host_in_test

LINK = "https://example.org/"


async def refusal(guest: FakeGarcon, url: str = LINK) -> str:
    """Ask for a link that the host must refuse; returns the answer."""
    with pytest.raises(CallFailed) as caught:
        await guest.call("OpenUrl", url=url)
    return caught.value.message


def dialog(directory: Path, name: str, script: str) -> None:
    """Put a dialog program first on the search path, which records its arguments."""
    program = directory / name
    program.write_text(f'#!/bin/sh\nfor word; do printf "%s\\n" "$word"; done >> {directory}/asked\n{script}\n')
    program.chmod(0o755)


@pytest.fixture
async def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[tuple[Host, FakeGarcon]]:
    """A host whose policy is `ask`, without a configured dialog command; the test's programs are found first."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("guestlink_host.border.open_requests.OUTCOME_TIME", LIMIT)
    async with host_in_test(monkeypatch) as host:
        guest = await host.registered()
        await host.ask("policy", name="demo", url="ask", terminal="ask")
        yield host, guest


# -- questions to the user ---------------------------------------------------------------------------------------


def test_each_no_doubles_the_wait_for_the_next_question_up_to_ten_minutes_and_a_yes_ends_it() -> None:
    pause, now, waits = QuestionPause(), 100.0, []
    assert pause.left(now) == 0
    for _ in range(8):
        pause.refused(now)
        waits.append(pause.left(now))
        now += waits[-1]
        assert pause.left(now) == 0
    assert waits == [10, 20, 40, 80, 160, 320, 600, 600]
    pause.agreed()
    pause.refused(now)
    assert pause.left(now) == 10


async def test_after_a_no_the_host_refuses_at_once_and_says_until_when(
    asked: tuple[Host, FakeGarcon], tmp_path: Path
) -> None:
    host, guest = asked
    dialog(tmp_path, "zenity", "exit 1")
    assert "the host's user refused to open the link" in await refusal(guest)
    shown = (tmp_path / "asked").read_text()
    for _ in range(20):
        assert "does not ask again for this container until " in await refusal(guest)
    with pytest.raises(CallFailed, match=r"until \d\d:\d\d:\d\d"):
        await guest.call("OpenTerminal", params=["true"])
    assert (tmp_path / "asked").read_text() == shown
    assert not host.opened.exists()


async def test_a_no_to_one_container_delays_no_other(asked: tuple[Host, FakeGarcon], tmp_path: Path) -> None:
    host, guest = asked
    dialog(tmp_path, "zenity", 'for word; do :; done; case "$word" in *"container demo"*) exit 1;; esac')
    assert "refused" in await refusal(guest)
    other = await host.registered("other")
    await host.ask("policy", name="other", url="ask")
    await other.call("OpenUrl", url=LINK)


@pytest.mark.parametrize(
    ("program", "script"), [("zenity", 'echo "No, and never again"; exit 1'), ("kdialog", "exit 1")]
)
async def test_no_and_never_again_sets_the_policy_to_deny_and_the_events_say_so(
    asked: tuple[Host, FakeGarcon], tmp_path: Path, program: str, script: str
) -> None:
    host, guest = asked
    dialog(tmp_path, program, script)
    assert "the host's user refused to open the link" in await refusal(guest)
    assert "No, and never again" in (tmp_path / "asked").read_text()
    assert await host.ask("policy", name="demo") == {"url": "deny", "terminal": "ask"}
    assert await host.events("policy") == ["url: deny, because the user answered no, and never again"]
    assert "the host's policy does not let" in await refusal(guest)
    await host.stop()
    await host.start()
    assert (await host.ask("policy", name="demo"))["url"] == "deny"


@pytest.mark.parametrize(("program", "script"), [("zenity", "exit 1"), ("kdialog", "exit 2")])
async def test_a_closed_dialog_is_no_and_not_never(
    asked: tuple[Host, FakeGarcon], tmp_path: Path, program: str, script: str
) -> None:
    host, guest = asked
    dialog(tmp_path, program, script)
    await refusal(guest)
    assert (await host.ask("policy", name="demo"))["url"] == "ask"


async def test_a_configured_dialog_command_cannot_answer_never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guestlink_host.border.open_requests.OUTCOME_TIME", LIMIT)
    async with host_in_test(monkeypatch, ask="sh -c 'echo No, and never again; exit 1'") as host:
        guest = await host.registered()
        await host.ask("policy", name="demo", url="ask")
        await refusal(guest)
        assert (await host.ask("policy", name="demo"))["url"] == "ask"


# -- letters -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "field",
    ["attach", "Attach", "ATTACHMENT", "attachment", "%61ttach", "%2561ttach", "attach%6dent", "insert", "x-attach",
     "amp;attach", " attach", "attach%20"],
)  # fmt: skip
def test_a_mail_link_attaches_no_file_of_the_host(field: str) -> None:
    url = f"mailto:a@example.org?subject=s&{field}=/home/me/.ssh/id_rsa&body=b"
    assert translate_url(url, schemes=["mailto"]) == "mailto:a@example.org?subject=s&body=b"


@pytest.mark.parametrize(
    ("url", "opened"),
    [
        ("mailto:a@example.org&attach=/etc/passwd", "mailto:a@example.org%26attach=/etc/passwd"),
        ("mailto:a@example.org?body=b?attach=/etc/passwd", "mailto:a@example.org?body=b%3Fattach=/etc/passwd"),
        ("mailto:a@example.org?body=b;attach=/etc/passwd", "mailto:a@example.org?body=b%3Battach=/etc/passwd"),
        ("mailto:a@example.org#?attach=/etc/passwd", "mailto:a@example.org%23"),
        ("mailto:?attach=/etc/passwd", "mailto:"),
        ("mailto:?attach", "mailto:"),
    ],
)
def test_no_mail_program_sees_a_field_that_the_host_did_not_see(url: str, opened: str) -> None:
    assert translate_url(url, schemes=["mailto"]) == opened


@pytest.mark.parametrize(
    "url",
    ["mailto:", "mailto:?body=two%0D%0Alines",
     "mailto:a@example.org,b@example.org?cc=c@example.org&bcc=d@example.org",
     "mailto:a@example.org?SUBJECT=R%26D%20%3F&In-Reply-To=%3C1@example.org%3E"],
)  # fmt: skip
def test_every_other_field_of_a_letter_stays_as_it_was(url: str) -> None:
    assert translate_url(url, schemes=["mailto"]) == url


# -- log and events ----------------------------------------------------------------------------------------------


def test_a_message_that_repeats_is_counted_and_not_written_each_time() -> None:
    repeats = RepeatCount(60.0)
    assert repeats.line("refused", 0.0) == "refused"
    assert [repeats.line("refused", 1.0 + second) for second in range(50)] == [""] * 50
    assert repeats.line("other", 2.0) == "other"
    assert repeats.line("refused", 60.0) == "refused (50 more times since the last such line)"
    assert repeats.line("refused", 121.0) == "refused"


def test_ever_new_messages_use_no_more_memory() -> None:
    repeats = RepeatCount(60.0)
    for number in range(10_000):
        repeats.line(str(number), 0.0)
    assert len(repeats._known) <= 100


async def test_a_request_that_is_refused_again_and_again_is_one_event(monkeypatch: pytest.MonkeyPatch) -> None:
    async with host_in_test(monkeypatch) as host:
        guest = await host.registered()
        await host.ask("policy", name="demo", url="deny")
        for _ in range(12):
            await refusal(guest)
        assert len(await host.events("refused")) == 1


async def test_a_request_that_fails_late_again_and_again_is_one_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    monkeypatch.setattr("guestlink_host.border.desktop.OUTCOME_TIME", 0.01)
    dialog(tmp_path, "opener", f"until [ -e {tmp_path}/go ]; do sleep 0.05; done; exit 4")
    async with host_in_test(monkeypatch, opener=str(tmp_path / "opener")) as host:
        guest = await host.registered()
        for _ in range(5):
            await guest.call("OpenUrl", url=LINK)
        (tmp_path / "go").touch()
        await host.until(lambda: _five_failures(host))
        assert caplog.text.count(f"demo wanted to open {LINK}") == 1


async def _five_failures(host: Host) -> bool:
    return len(await host.events("failed")) == 5


async def test_calls_with_a_wrong_token_are_one_line_in_the_log(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("guestlink_host.listener.token_check._WARNING_PAUSE", 1e6)
    async with host_in_test(monkeypatch) as host:
        guest = await host.registered()
        for _ in range(12):
            with pytest.raises(CallFailed):
                await guest.call("OpenUrl", url=LINK, token="wrong")
        assert caplog.text.count("has a wrong token") == 1
