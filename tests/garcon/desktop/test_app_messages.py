"""Applications on the wire, and lists that exceed the message size (chromeos-garcon.md §3.6, §1.1)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from garcon.desktop.app_list import PublishedApplication
from garcon.desktop.app_messages import SIZE_LIMIT, application_message, fit_list
from garcon.desktop.desktop_entry import parse_desktop_entry
from garcon.desktop.exec_line import executable_file_name
from guestlink.pb import container_host_pb2


def application(desktop_file_id: str, **keys: str) -> PublishedApplication:
    keys = {"Type": "Application", "Name": "N", "Exec": "prog", **keys}
    text = "[Desktop Entry]\n" + "".join(f"{key}={value}\n" for key, value in keys.items())
    entry = parse_desktop_entry(text.encode())
    return PublishedApplication(
        desktop_file_id, f"/usr/share/{desktop_file_id}", entry, executable_file_name(entry)
    )


def request_size(messages: list[container_host_pb2.Application]) -> int:
    request = container_host_pb2.UpdateApplicationListRequest(token="8a3f2b1c-0d4e-4f5a-9b6c-7d8e9f0a1b2c")
    request.application.extend(messages)
    return len(request.SerializeToString())


def test_every_field() -> None:
    message = application_message(
        application(
            "org.ex.App",
            **{
                "Name[de]": "D",
                "Name[af]": "A",
                "Comment": "C",
                "Keywords": "a;b;",
                "Keywords[de]": "x;",
                "MimeType": "t/b;t/a;",
                "NoDisplay": "true",
                "StartupWMClass": "W",
                "StartupNotify": "true",
                "Terminal": "true",
                "Exec": "/bin/prog %U",
            },
        )._replace(package_id="p;1;all;installed")
    )
    assert message.desktop_file_id == "org.ex.App"
    assert [(value.locale, value.value) for value in message.name.values] == [("", "N"), ("af", "A"), ("de", "D")]
    assert [(value.locale, value.value) for value in message.comment.values] == [("", "C")]
    keywords = [(value.locale, list(value.value)) for value in message.keywords.values]
    assert keywords == [("", ["a", "b"]), ("de", ["x"])]
    assert list(message.mime_types) == ["t/b", "t/a"]
    assert (message.no_display, message.startup_notify, message.terminal) == (True, True, True)
    assert (message.startup_wm_class, message.package_id) == ("W", "p;1;all;installed")
    assert (message.exec, message.executable_file_name) == ("/bin/prog %U", "prog")
    assert not message.extensions


def test_messages_are_there_even_when_they_are_empty() -> None:
    message = application_message(application("a"))
    assert [message.HasField(field) for field in ("name", "comment", "keywords")] == [True, True, True]


def test_a_list_that_fits_is_complete() -> None:
    applications = [application(str(number), Comment="c", Keywords="k;") for number in range(100)]
    fitted = fit_list(applications)
    assert fitted.left_out == ""
    assert fitted.messages == [application_message(entry) for entry in applications]


def test_one_absurd_application_costs_only_itself() -> None:
    good = [application(str(number), Comment="c", Keywords="k;") for number in range(100)]
    for absurd in ({"Exec": "x" * SIZE_LIMIT}, {"Keywords": "x" * SIZE_LIMIT}, {"Comment": "x" * SIZE_LIMIT}):
        fitted = fit_list([*good[:50], application("absurd", **absurd), *good[50:]])
        kept = [message for message in fitted.messages if message.desktop_file_id != "absurd"]
        assert kept == [application_message(entry) for entry in good]
        assert request_size(fitted.messages) <= 4 * 1024 * 1024
        assert len(fitted.messages) == (100 if "Exec" in absurd else 101)
        assert fitted.left_out
    assert fit_list([application("absurd", Exec="x" * SIZE_LIMIT)]).left_out == (
        "the application list is too long for the host; left out: 1 of 1 applications, such as absurd"
    )


def test_keywords_go_before_comments_and_applications_last() -> None:
    applications = [
        application(f"{number:04}", Comment="c" * 400, Keywords="k" * 500, **{"Name[de]": "d" * 300})
        for number in range(1000)
    ]
    complete = sum(application_message(entry).ByteSize() + 8 for entry in applications)
    few = fit_list(applications, complete - 1000)
    assert "keywords of 2" in few.left_out
    assert "comments" not in few.left_out
    assert "keywords of 1000, comments of" in fit_list(applications, complete - 600_000).left_out
    tiny = fit_list(applications, 10_000)
    assert 0 < len(tiny.messages) < 1000
    assert tiny.left_out.startswith(
        "the application list is too long for the host; left out: "
        "keywords of 1000, comments of 1000, translations of 1000, "
    )
    assert [value.value for value in tiny.messages[0].name.values] == ["N"]


@given(
    st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3000), st.integers(0, 3000))), st.integers(0, 20_000)
)
def test_no_list_is_longer_than_the_limit(lengths: list[tuple[int, int, int]], limit: int) -> None:
    applications = [
        application(str(number), Exec="e" * exec_length, Comment="c" * comment, Keywords="k" * keywords)
        for number, (exec_length, comment, keywords) in enumerate(lengths)
    ]
    fitted = fit_list(applications, limit)
    assert sum(message.ByteSize() + 8 for message in fitted.messages) <= limit
    complete = [application_message(entry) for entry in applications]
    assert bool(fitted.left_out) == (fitted.messages != complete)
    order = [message.desktop_file_id for message in fitted.messages]
    assert order == sorted(order, key=int)
