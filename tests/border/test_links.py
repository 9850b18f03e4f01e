"""What the host promises about the links that a container asks to open."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import pytest

from guestlink.rpc import CallFailed
from guestlink.tasks import TaskOwner
from guestlink_host.border import shared_file
from guestlink_host.border.desktop import Answer, Desktop
from guestlink_host.border.document_types import is_document
from guestlink_host.border.opened_copies import OpenedCopies
from guestlink_host.border.question_pause import QuestionPause
from guestlink_host.border.repeat_count import RepeatCount
from guestlink_host.border.shared_file import check_document
from guestlink_host.border.url_policy import translate_url
from guestlink_host.containers.registry import Container
from support.dead_mount import dead_mount
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
    before = await host.ask("policy", name="demo")
    dialog(tmp_path, program, script)
    assert "the host's user refused to open the link" in await refusal(guest)
    assert "No, and never again" in (tmp_path / "asked").read_text()
    assert await host.ask("policy", name="demo") == before | {"url": "deny"}
    assert await host.events("policy") == ["url: deny, because the user answered no, and never again"]
    assert "the host's policy does not let" in await refusal(guest)
    await host.stop()
    await host.start()
    assert (await host.ask("policy", name="demo"))["url"] == "deny"


async def test_a_never_that_cannot_be_kept_is_the_users_matter_and_the_container_learns_the_no_alone(
    asked: tuple[Host, FakeGarcon], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    host, guest = asked
    dialog(tmp_path, "zenity", 'echo "No, and never again"; exit 1')
    monkeypatch.setattr("guestlink_host.containers.registry.atomic_write", full)
    answer = await refusal(guest)
    assert "the host's user refused to open the link" in answer
    assert str(host.root) not in answer
    assert "no space left" in (await host.events("failed"))[0]
    assert "does not ask again for this container until " in await refusal(guest)


@pytest.mark.parametrize(("program", "script"), [("zenity", "exit 1"), ("kdialog", "exit 2")])
async def test_a_closed_dialog_is_no_and_not_never(
    asked: tuple[Host, FakeGarcon], tmp_path: Path, program: str, script: str
) -> None:
    host, guest = asked
    dialog(tmp_path, program, script)
    await refusal(guest)
    assert (await host.ask("policy", name="demo"))["url"] == "ask"


@pytest.mark.parametrize(("call", "fields"), [("OpenUrl", {"url": LINK}), ("OpenTerminal", {"params": ["true"]})])
async def test_a_policy_that_denies_meanwhile_outweighs_a_yes(
    asked: tuple[Host, FakeGarcon], monkeypatch: pytest.MonkeyPatch, call: str, fields: dict[str, Any]
) -> None:
    host, guest = asked

    async def yes(self: Desktop, question: str) -> Answer:
        await host.ask("policy", name="demo", url="deny", terminal="deny")
        return Answer.YES

    monkeypatch.setattr(Desktop, "ask", yes)
    with pytest.raises(CallFailed, match="the host's policy does not let this container"):
        await guest.call(call, **fields)
    assert not host.opened.exists()


async def test_a_configured_dialog_command_cannot_answer_never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("guestlink_host.border.open_requests.OUTCOME_TIME", LIMIT)
    async with host_in_test(monkeypatch, ask="sh -c 'echo No, and never again; exit 1'") as host:
        guest = await host.registered()
        await host.ask("policy", name="demo", url="ask")
        await refusal(guest)
        assert (await host.ask("policy", name="demo"))["url"] == "ask"


# -- files -------------------------------------------------------------------------------------------------------


class Folder:
    """A folder that the container shares, and a file of the user outside.

    :ivar opened: the lines that the opener got.
    """

    def __init__(self, host: Host, guest: FakeGarcon) -> None:
        self.host, self.guest = host, guest
        self.path = host.root / "shared"
        (self.path / "sub").mkdir(parents=True)
        (self.path / "a.txt").write_text("harmless")
        (self.path / "sub/b.txt").write_text("harmless")
        self.home = host.root / "home"
        self.home.mkdir()
        for name in ("secret", "a.txt", "b.txt"):
            (self.home / name).write_text("secret")

    async def open(self, inside: str) -> Path:
        """Open a link to a file in the folder; returns the path that the opener got."""
        self.host.opened.unlink(missing_ok=True)
        await self.guest.call("OpenUrl", url=f"file:///home/u/{inside}")
        line = await self.host.until(lambda: self.host.opened.exists() and self.host.opened.read_text())
        parts = urlsplit(line.rstrip("\n"))
        return Path(unquote(parts.path, errors="surrogateescape"))

    async def refusal(self, inside: str) -> str:
        """Open a link that the host must refuse; returns the answer."""
        self.host.opened.unlink(missing_ok=True)
        text = await refusal(self.guest, f"file:///home/u/{inside}")
        assert not self.host.opened.exists()
        return text

    def exchange(self, inside: str, target: Path) -> None:
        """Replace a file or folder by a link, as a container can at any time."""
        (self.path / inside).rename(self.path / "old")
        (self.path / inside).symlink_to(target)


@pytest.fixture
async def folder(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Folder]:
    monkeypatch.setattr("guestlink_host.border.document_types._patterns", lambda: GLOBS)
    async with host_in_test(monkeypatch) as host:
        shared = Folder(host, await host.registered())
        await host.ask("share", name="demo", host=str(shared.path), inside="/home/u")
        yield shared


GLOBS = [
    ("text/plain", "*.txt"), ("text/html", "*.html"), ("application/pdf", "*.pdf"), ("text/x-readme", "readme*"),
    ("application/vnd.flatpak.ref", "*.flatpakref"), ("application/x-desktop", "*.desktop"),
    ("application/x-ms-dos-executable", "*.exe"), ("application/x-shellscript", "*.sh"), ("text/x-python", "*.py"),
    ("application/zip", "*.zip"), ("image/png", "*.png"), ("image/svg+xml", "*.svg"),
    ("application/vnd.oasis.opendocument.text", "*.odt"), ("video/mp2t", "*.ts"), ("text/html", "*.both"),
    ("text/plain", "*.both"), ("application/vnd.ms-word.document.macroEnabled.12", "*.docm"),
    ("application/x-apple-aspen-config", "*.mobileconfig"), ("text/x-makefile", "makefile"),
]  # fmt: skip


async def test_the_opener_gets_a_copy_that_the_container_cannot_reach_or_exchange(folder: Folder) -> None:
    opened = await folder.open("a.txt")
    assert opened.name == "a.txt"
    assert opened.is_relative_to(folder.host.root / "run/guestlink-host/opened")
    assert opened.stat().st_mode & 0o777 == 0o400
    folder.exchange("a.txt", folder.home / "secret")
    assert opened.read_text() == "harmless"
    assert await folder.host.events("opened") == [f"file://{folder.path}/a.txt"]


@pytest.mark.parametrize(("inside", "exchanged", "target"), [("a.txt", "a.txt", "a.txt"), ("sub/b.txt", "sub", "")])
async def test_what_is_exchanged_for_a_link_after_the_check_leads_nowhere_else(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, inside: str, exchanged: str, target: str
) -> None:
    """The exchange comes at the worst moment: after the last check, before the file is read."""
    checks = []

    def check_and_exchange(name: str, mode: int) -> None:
        check_document(name, mode)
        checks.append(name)
        if len(checks) == 2:
            folder.exchange(exchanged, folder.home / target)

    monkeypatch.setattr(shared_file, "check_document", check_and_exchange)
    assert (await folder.open(inside)).read_text() == "harmless"
    assert len(checks) == 2


@pytest.mark.parametrize(("inside", "exchanged", "target"), [("a.txt", "a.txt", "a.txt"), ("sub/b.txt", "sub", "")])
async def test_what_is_exchanged_for_a_link_while_the_user_is_asked_is_refused(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, inside: str, exchanged: str, target: str
) -> None:
    monkeypatch.setattr("guestlink_host.border.open_requests.OUTCOME_TIME", LIMIT)
    await folder.host.ask("policy", name="demo", url="ask")

    async def yes(self: Desktop, question: str) -> Answer:
        folder.exchange(exchanged, folder.home / target)
        return Answer.YES

    monkeypatch.setattr(Desktop, "ask", yes)
    assert "in no folder that the container shares" in await folder.refusal(inside)


async def test_a_policy_that_denies_while_a_file_is_copied_keeps_the_copy_closed(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    path_to_open = OpenedCopies.path_to_open

    async def deny_meanwhile(self: OpenedCopies, path: str, container: Container) -> str:
        await folder.host.ask("policy", name="demo", url="deny")
        return await path_to_open(self, path, container)

    monkeypatch.setattr(OpenedCopies, "path_to_open", deny_meanwhile)
    assert "the host's policy does not let this container" in await folder.refusal("a.txt")
    assert not folder.host.opened.exists()


@pytest.mark.parametrize(
    "target", ["{home}/secret", "../home/secret", "sub/../../home/secret", "loop.txt", "/proc/self/environ"]
)
async def test_no_link_leads_out_of_the_shared_folder(folder: Folder, target: str) -> None:
    (folder.path / "loop.txt").symlink_to("loop.txt")
    (folder.path / "link.txt").symlink_to(target.format(home=folder.home))
    assert "in no folder that the container shares" in await folder.refusal("link.txt")


async def test_links_within_the_shared_folder_are_followed(folder: Folder) -> None:
    (folder.path / "sub/up.txt").symlink_to("../a.txt")
    (folder.path / "same").symlink_to("sub/../sub")
    assert (await folder.open("same/up.txt")).read_text() == "harmless"
    assert await folder.open("same") == folder.path / "sub"


async def test_a_shared_folder_within_another_one_cannot_be_exchanged_either(folder: Folder) -> None:
    await folder.host.ask("share", name="demo", host=str(folder.path / "sub"), inside="/mnt/sub")
    folder.exchange("sub", folder.home)
    assert "in no folder" in await refusal(folder.guest, "file:///mnt/sub/a.txt")


async def test_a_path_of_many_folders_uses_few_descriptors(folder: Folder) -> None:
    place = folder.path
    for _ in range(70):
        place /= "d"
        place.mkdir()
    assert "more than 64 folders deep" in await folder.refusal("d/" * 70 + "x.txt")


@pytest.mark.parametrize("kind", ["pipe", "socket"])
async def test_a_pipe_or_a_socket_with_a_documents_name_is_refused_without_waiting(
    folder: Folder, kind: str
) -> None:
    path = folder.path / "odd.txt"
    with socket.socket(socket.AF_UNIX) as listener:
        if kind == "pipe":
            os.mkfifo(path)
        else:
            listener.bind(str(path))
        assert "documents and folders" in await folder.refusal("odd.txt")


async def test_a_file_that_is_too_large_is_refused_and_the_copies_of_a_container_are_bounded(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guestlink_host.border.opened_copies.SIZE_LIMIT", 20)
    first = await folder.open("a.txt")
    second = await folder.open("sub/b.txt")
    third = await folder.open("a.txt")
    assert not first.exists()
    assert second.exists()
    assert third.exists()
    other = await folder.host.registered("other")
    await folder.host.ask("share", name="other", host=str(folder.path), inside="/home/u")
    for _ in range(3):
        await other.call("OpenUrl", url="file:///home/u/a.txt")
    assert second.exists()
    (folder.path / "a.txt").write_text("x" * 21)
    assert "is larger than" in await folder.refusal("a.txt")


async def test_copies_disappear_after_a_while_and_when_the_daemon_starts(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await folder.open("a.txt")
    monkeypatch.setattr("guestlink_host.border.opened_copies.KEPT", 0.0)
    brief = await folder.open("a.txt")
    await folder.host.until(lambda: not brief.parent.exists())
    assert kept.exists()
    await folder.host.stop()
    await folder.host.start()
    assert not kept.parent.exists()


async def test_a_copy_that_is_made_too_late_for_its_request_is_removed(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A slow folder would otherwise fill the room of the copies that are opened."""
    answered, read = threading.Event(), shared_file.read_shared

    def read_slowly(file: shared_file.SharedFile) -> int:
        assert answered.wait(LIMIT)
        return read(file)

    monkeypatch.setattr("guestlink_host.border.opened_copies.read_shared", read_slowly)
    monkeypatch.setattr("guestlink_host.border.opened_copies.PATIENCE", 0.2)
    copies = folder.host.root / "run/guestlink-host/opened/demo"
    assert "does not answer" in await folder.refusal("a.txt")
    assert len(list(copies.iterdir())) == 1
    answered.set()
    await folder.host.until(lambda: not list(copies.iterdir()))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount a file system that does not answer")
async def test_a_shared_folder_that_does_not_answer_keeps_one_thread_and_delays_no_other_container(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("guestlink_host.border.open_requests.PATIENCE", 0.2)
    other = await folder.host.registered("other")
    await folder.host.ask("share", name="other", host=str(folder.path), inside="/home/u")
    with dead_mount(tmp_path) as dead:
        await folder.host.ask("share", name="demo", host=str(dead), inside="/mnt/dead")
        threads = threading.active_count()
        for _ in range(20):  # The container ends each call at once; the daemon's thread does not end with it.
            tasks = TaskOwner("impatient calls")
            tasks.start(folder.guest.call("OpenUrl", url="file:///mnt/dead/a.txt"), name="call")
            await asyncio.sleep(0.02)
            await tasks.close()
        assert "a shared folder does not answer" in await refusal(folder.guest, "file:///mnt/dead/a.txt")
        assert threading.active_count() - threads <= 2
        async with asyncio.timeout(LIMIT / 4):
            await asyncio.gather(*(asyncio.to_thread(int) for _ in range(8)))
            await other.call("OpenUrl", url="file:///home/u/a.txt")
        await folder.host.ask("policy", name="demo", url="deny")
        assert "policy does not let" in await refusal(folder.guest, "file:///mnt/dead/a.txt")
        await folder.host.ask("policy", name="demo", url="allow")
    assert (await folder.open("a.txt")).read_text() == "harmless"


async def test_empty_files_make_no_endless_number_of_copies(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("guestlink_host.border.opened_copies.COPIES_LIMIT", 3)
    (folder.path / "a.txt").write_text("")
    copies = [await folder.open("a.txt") for _ in range(6)]
    assert [copy.exists() for copy in copies] == [False] * 3 + [True] * 3


async def test_a_copy_leaves_the_session_half_of_its_room(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=15))
    assert "would leave too little room" in await folder.refusal("a.txt")


REFUSED = ["page.html", "PAGE.HTML", "x.flatpakref", "x.desktop", "x.exe", "x.sh", "x.py", "x.mobileconfig",
           "x.docm", "x.svg", "x.unknown", "noending", "x.txt.exe", "readme.html", "x.both", "x.html "]  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
async def test_programs_pages_and_unknown_files_are_refused_with_advice(folder: Folder, name: str) -> None:
    (folder.path / name).write_text("x")
    text = await folder.refusal(quote(name) if name.strip() == name else name.replace(" ", "%20"))
    assert "the host opens documents and folders, not programs, web pages, and files of other types" in text
    assert text.endswith("\nopen the folder; its user can open the file there")


@pytest.mark.parametrize("name", ["a.pdf", "A.PDF", "x.odt", "x.zip", "x.png", "README", "Makefile", "x.ts"])
async def test_documents_are_opened(folder: Folder, name: str) -> None:
    (folder.path / name).write_text("x")
    assert (await folder.open(name)).name == name


async def test_an_executable_document_is_refused(folder: Folder) -> None:
    (folder.path / "a.txt").chmod(0o755)
    assert "documents and folders" in await folder.refusal("a.txt")


async def test_a_name_that_is_not_utf_8_is_opened_and_causes_no_traceback(folder: Folder) -> None:
    assert "no such file" in await folder.refusal("%ff.txt")
    (folder.path / os.fsdecode(b"\xff.txt")).write_text("x")
    assert (await folder.open("%ff.txt")).name == os.fsdecode(b"\xff.txt")


@pytest.mark.parametrize(
    ("name", "is_one"),
    [("a.pdf", True), ("a.txt", True), ("a.html", False), ("a.py", False), ("a.exe", False), ("a", False),
     ("data:text/plain,a.html", False), ("a.html.gz", False)],
)  # fmt: skip
def test_without_a_mime_database_the_few_types_of_python_decide(
    monkeypatch: pytest.MonkeyPatch, name: str, is_one: bool
) -> None:
    monkeypatch.setattr("guestlink_host.border.document_types._patterns", list)
    assert is_document(name) is is_one


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
    monkeypatch.setattr("guestlink_host.border.container_log.REPEAT_PAUSE", 1e6)
    async with host_in_test(monkeypatch) as host:
        guest = await host.registered()
        for _ in range(12):
            with pytest.raises(CallFailed):
                await guest.call("OpenUrl", url=LINK, token="wrong")
        assert caplog.text.count("has a wrong token") == 1
