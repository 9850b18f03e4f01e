"""Launcher files: any text from a container stays plain text, and the real validator accepts the files."""

from __future__ import annotations

import re
import shlex
import subprocess
import tempfile
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from xdg.DesktopEntry import DesktopEntry

from guestlink.pb import container_host_pb2
from guestlink_host.control.parser import argument_parser
from guestlink_host.launchers import applications as applications_of_lists
from guestlink_host.launchers.applications import from_json, read_applications, to_json
from guestlink_host.launchers.launcher_plan import diff, plan, takes_files
from support.fake_garcon import application
from support.needs import need

PROGRAM = ["/usr/bin/guestlink-host"]


def launchers(*messages: container_host_pb2.Application, container: str = "demo") -> dict[str, str]:
    """The launchers that a list produces."""
    applications, _ = read_applications(messages)
    return {name: text.decode() for name, text in plan(container, applications.values(), PROGRAM).items()}


def the_launcher(message: container_host_pb2.Application) -> str:
    (text,) = launchers(message).values()
    return text


def keys(text: str) -> Mapping[str, str]:
    """The keys of a launcher; fails on a duplicate key and on a second group."""
    first, *lines = text.splitlines()
    assert first == "[Desktop Entry]"
    found: dict[str, str] = {}
    for line in lines:
        key, equals, value = line.partition("=")
        assert equals
        assert key not in found
        found[key] = value
    return found


def command_of(value: str) -> list[str]:
    """The words of an Exec value, parsed by the specification's rules, without field codes."""
    unescaped = value.replace("\\\\", "\\")
    words = []
    for quoted, plain in re.findall(r'"((?:[^"\\]|\\.)*)"|(\S+)', unescaped):
        if plain in ("%U", "%u", "%F", "%f"):
            continue
        words.append((re.sub(r"\\(.)", r"\1", quoted) if quoted else plain).replace("%%", "%"))
    return words


def validate(files: Mapping[str, str]) -> str:
    """desktop-file-validate's output for files: empty if they are valid.

    Unusual MIME types such as ``message/rfc822`` are ignored, because the application chooses its MIME types.
    """
    need("desktop-file-validate", packages="desktop-file-utils")
    with tempfile.TemporaryDirectory() as directory:
        for name, text in files.items():
            Path(directory, name).write_text(text)
        done = subprocess.run(
            ["desktop-file-validate", *(str(path) for path in Path(directory).iterdir())],
            capture_output=True, text=True, check=False, env={"LC_ALL": "C.UTF-8"},
        )  # fmt: skip
        said = (done.stdout + done.stderr).splitlines()
        said = [line for line in said if "MIME type that should probably not be used" not in line]
        return "\n".join(said) + ("" if done.returncode == 0 else f"status {done.returncode}")


def test_an_ordinary_application() -> None:
    message = application(
        "org.gnome.TextEditor",
        names={"": "Text Editor", "de": "Texteditor", "sr@latin": "Uređivač", "pt-BR": "Editor"},
        comments={"": "Edit text", "de": "Text bearbeiten"},
        keywords={"": ["write", "a;b"], "de": ["schreiben"]},
        mime_types=["text/plain", "text/plain", "text/x-c++"],
        startup_wm_class="gnome-text-editor",
        startup_notify=True,
        exec="gnome-text-editor %U",
    )
    files = launchers(message)
    assert list(files) == ["guestlink-demo-org.gnome.TextEditor.desktop"]
    assert files["guestlink-demo-org.gnome.TextEditor.desktop"] == (
        "[Desktop Entry]\n"
        "Type=Application\n"
        "Name=Text Editor\n"
        "Name[de]=Texteditor\n"
        "Name[pt_BR]=Editor\n"
        "Name[sr@latin]=Uređivač\n"
        "Comment=Edit text\n"
        "Comment[de]=Text bearbeiten\n"
        "Exec=/usr/bin/guestlink-host launch demo org.gnome.TextEditor %U\n"
        "TryExec=/usr/bin/guestlink-host\n"
        "Icon=guestlink-demo-org.gnome.TextEditor\n"
        "Terminal=false\n"
        "Categories=Utility;X-Guestlink;\n"
        "MimeType=text/plain;text/x-c++;\n"
        "Keywords=write;a\\;b;\n"
        "Keywords[de]=schreiben;\n"
        "StartupNotify=true\n"
        "StartupWMClass=gnome-text-editor\n"
        "X-Guestlink-Container=demo\n"
        "X-Guestlink-Id=org.gnome.TextEditor\n"
    )
    assert validate(files) == ""


def test_other_readers_understand_it(tmp_path: Path) -> None:
    """pyxdg reads the same values that we wrote."""
    text = the_launcher(
        application("a b", names={"": "Back\\slash; näme"}, keywords={"": ["x;y", "z"]}, mime_types=["image/png"])
    )
    path = tmp_path / "x.desktop"
    path.write_text(text)
    entry = DesktopEntry(str(path))
    entry.validate()
    assert entry.getMimeTypes() == ["image/png"]
    assert entry.getCategories() == ["Graphics", "X-Guestlink"]
    assert entry.get("X-Guestlink-Id") == "a b"


@pytest.mark.parametrize(
    "name",
    ["a b", 'a"b', "a$HOME`x`", "a\\b", "100%", "%U", "$(reboot);b|c&d", "-x", "--help", "--", "'", "a>b", "#"],
)
def test_an_id_stays_one_argument_whatever_it_contains(name: str) -> None:
    files = launchers(application(name))
    (text,) = files.values()
    program, *words = command_of(keys(text)["Exec"])
    assert [program] == PROGRAM
    asked = argument_parser().parse_args([*words, "file:///x"])
    assert (asked.name, asked.files) == ("demo", ["file:///x"])
    assert (unquote(asked.id) if asked.percent_encoded else asked.id) == name
    assert validate(files) == ""


def test_the_specifications_reader_and_the_shells_agree_on_plain_ids() -> None:
    text = the_launcher(application("org.kde.kate", exec="kate %F"))
    assert shlex.split(keys(text)["Exec"]) == [*PROGRAM, "launch", "demo", "org.kde.kate", "%U"]


def test_ids_that_are_not_ascii_travel_encoded() -> None:
    files = launchers(application("Übung 1"))
    (text,) = files.values()
    assert keys(text)["Exec"] == "/usr/bin/guestlink-host launch --percent-encoded demo %%C3%%9Cbung%%201"
    assert validate(files) == ""


@pytest.mark.parametrize(
    "text", ["A\nExec=/bin/sh -c evil", "A\r[Desktop Action x]\nExec=b", "A\n\n[Desktop Entry]\nX=y"]
)
def test_a_text_with_line_breaks_makes_no_keys(text: str) -> None:
    files = launchers(
        application(
            "x", names={"": text, "de": text}, comments={"": text}, keywords={"": [text]}, startup_wm_class=text
        )
    )
    (content,) = files.values()
    assert keys(content)["Exec"] == "/usr/bin/guestlink-host launch demo x"
    assert validate(files) == ""


def test_entries_without_a_name_or_id_are_left_out_and_named() -> None:
    messages = [application("", names={"": "x"}), application("no-name", names={"de": "x"}),
                application("blank", names={"": "\u202e \n"}), application("a\nb"),
                application("good")]  # fmt: skip
    applications, faults = read_applications(messages)
    assert list(applications) == ["good"]
    assert len(faults) == 4


def test_of_two_with_one_id_the_last_counts() -> None:
    applications, _ = read_applications([application("x", names={"": "old"}), application("x", names={"": "new"})])
    assert [entry.name for entry in applications.values()] == ["new"]


def test_locales_that_are_none_and_mime_types_that_are_none_are_dropped() -> None:
    text = the_launcher(
        application(
            "x",
            names={"": "X", "a b": "1", "de]=\n[": "2", "../..": "3", "de_DE.UTF-8": "4"},
            mime_types=[
                "text/plain",
                "text",
                "text/",
                "/plain",
                "a b/c",
                "text/pla;in",
                "foo/bar",
                "text/x\ny",
                "é/é",
            ],
        )
    )
    assert [key for key in keys(text) if key.startswith("Name")] == ["Name", "Name[de_DE]"]
    assert keys(text)["MimeType"] == "text/plain;"


def test_what_the_specifications_allow_is_not_changed() -> None:
    mime_types = [
        "application/x-Foo",
        "application/vnd.ms-excel.sheet.macroEnabled.12",
        "audio/AMR",
        "image/svg+xml",
        "text/x-c++src",
        "x-scheme-handler/Web+Foo.1",
        "x-content/audio-cdda",
        "x-epoc/x-sisx-app",
        "multipart/x-mixed-replace",
        "misc/ultravox",
        "message/rfc822",
        "application/_x&y#1!",
    ]
    locales = ["ca@valencia", "en_US_POSIX", "es_419", "nds", "sr_Latn_RS", "sr@ijekavianlatin", "x_test"]
    message = application(
        "wine-Programs-" + "ソフト" * 40,
        names={"": "Größe", **dict.fromkeys(locales, "Y")},
        comments={"": "c" * 900},
        keywords={"": ["one keyword that an author forgot to split at its spaces and that is quite long", "C++"]},
        mime_types=mime_types,
        startup_wm_class="Größe  (x86)",
    )
    found = keys(the_launcher(message))
    assert found["MimeType"] == ";".join(mime_types) + ";"
    assert found["StartupWMClass"] == "Größe  (x86)"
    assert found["Keywords"] == ";".join(message.keywords.values[0].value) + ";"
    assert found["Comment"] == "c" * 900
    assert {f"Name[{locale}]" for locale in locales} <= found.keys()


def test_comments_that_repeat_the_name_of_their_locale_are_left_out() -> None:
    message = application(
        "disks",
        names={"": "Disk Image Mounter", "it": "Monta immagini disco", "de": "Abbilder"},
        comments={
            "": "Mount Disk Images",
            "it": "Monta immagini Disco",
            "de": "Abbilder einhängen",
            "fr": "Monter",
        },
    )
    files = launchers(message)
    assert validate(files) == ""
    assert {key: value for key, value in keys(the_launcher(message)).items() if key.startswith("Comment")} == {
        "Comment": "Mount Disk Images",
        "Comment[de]": "Abbilder einhängen",
        "Comment[fr]": "Monter",
    }


def test_texts_lists_and_locales_are_bounded() -> None:
    text = the_launcher(
        application(
            "x",
            names={"": "n" * 100_000, **{f"aa_{n}": "y" * 1000 for n in range(5000)}},
            comments={"": "c" * 100_000},
            keywords={"": ["k" * 10_000] + [str(n) for n in range(10_000)]},
            mime_types=[f"text/x-{n}" for n in range(10_000)],
            exec="e" * 1_000_000,
        )
    )
    assert len(text) < 300_000


@pytest.mark.parametrize(
    ("command", "takes"),
    [("a %f", True), ("a %U b", True), ("a --x=%F", True), ("a", False), ("a %i %c %k", False), ("a %%f", False),
     ("a %%%u", True), ("", False), ("%", False), ("a -caption %c %i %u", True), ("a %%%%f%k%F", True)],
)  # fmt: skip
def test_only_commands_with_a_field_code_take_files(command: str, takes: bool) -> None:
    assert takes_files(command) is takes


def test_diff_writes_what_changed_and_removes_what_went() -> None:
    change = diff({"same": b"1", "old": b"1", "changed": b"1"}, {"same": b"1", "changed": b"2", "new": b"3"})
    assert change.write == ("changed", "new")
    assert change.remove == ("old",)


TEXTS = st.one_of(
    st.text(max_size=40),
    st.sampled_from(
        ["[Desktop Entry]", "Name", "=", "\\", "\\n", ";", "%f", '"', "$(x)", "\n", "\r\n", "\t", "é\u202e"]
    ),
    st.lists(st.sampled_from(["\\", ";", "\n", "=", "[", "]", "a", " ", "\0", '"', "%", "`"]), max_size=12).map(
        "".join
    ),
)
LOCALES = st.one_of(st.just(""), st.sampled_from(["de", "pt_BR", "sr@latin", "zh-Hans"]), TEXTS)
MIME_TYPES = st.one_of(
    TEXTS, st.from_regex(r"[a-z-]{1,8}/[a-zA-Z0-9.+_;-]{1,12}", fullmatch=True), st.just("x-scheme-handler/http")
)
APPLICATIONS = st.builds(
    lambda name, names, comments, keywords, **fields: application(
        name, names=names, comments=comments, keywords=keywords, **fields
    ),
    st.one_of(TEXTS, st.from_regex(r"[a-zA-Z0-9._-]{1,40}", fullmatch=True)),
    st.dictionaries(LOCALES, TEXTS, max_size=4),
    st.dictionaries(LOCALES, TEXTS, max_size=4),
    st.dictionaries(LOCALES, st.lists(TEXTS, max_size=4), max_size=3),
    mime_types=st.lists(MIME_TYPES, max_size=4),
    no_display=st.booleans(),
    startup_notify=st.booleans(),
    startup_wm_class=TEXTS,
    exec=TEXTS,
    package_id=TEXTS,
    executable_file_name=TEXTS,
    terminal=st.booleans(),
)


@given(st.lists(APPLICATIONS, max_size=30), st.sampled_from(["demo", "debian-12", "a.b_c"]))
@settings(max_examples=60)
def test_the_validator_accepts_every_launcher_and_nothing_is_injected(
    messages: list[container_host_pb2.Application], container: str
) -> None:
    files = launchers(*messages, container=container)
    for name, text in files.items():
        found = keys(text)
        assert "/" not in name
        assert len(name) < 255
        words = [word for word in command_of(found["Exec"]) if word != "--percent-encoded"]
        assert words[:3] == [*PROGRAM, "launch", container]
        assert len(words) == 4
        assert found["X-Guestlink-Container"] == container
        assert found["TryExec"] == PROGRAM[0]
        needed = "\n\u200b\u200c\u200d\u200e\u200f\u061c"
        assert all(c.isprintable() or c in needed or unicodedata.category(c) == "Zs" for c in text)
    assert not files or validate(files) == ""


def test_the_texts_of_all_applications_together_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(applications_of_lists, "TEXTS_LIMIT", 250)
    names = {"": "Editor"} | {f"a{letter}": "text" for letter in "abcdefghijklmnopqrstuvwxyz"}
    texts = {"names": names, "comments": {"": "default", "de": "x"}, "keywords": {"": ["k"] * 9 + ["l"]}}
    messages = [application(f"app{n}", mime_types=["text/x"], **texts) for n in range(100)]
    applications, faults = read_applications(messages)
    assert not faults
    assert len(applications) == 100
    assert len(applications["app0"].names) == 27
    last = applications["app99"]
    assert (last.names, last.comments, last.keywords, last.mime_types) == (
        (("", "Editor"),), (("", "default"),), (), (),
    )  # fmt: skip
    held = sum(len(each.names) + len(each.comments) for each in applications.values())
    assert held < 250 + 2 * 100 + 40


@given(st.lists(APPLICATIONS, max_size=8))
@settings(max_examples=100)
def test_a_list_survives_the_disk(messages: list[container_host_pb2.Application]) -> None:
    applications, _ = read_applications(messages)
    assert from_json(to_json(applications)) == applications


@pytest.mark.parametrize("value", [None, {}, [1], [{}], [{"id": "x"}], [[]], "x", [{"id": 3, "names": {"": 1}}]])
def test_a_broken_list_on_the_disk_is_no_list(value: object) -> None:
    assert from_json(value) == {}


@pytest.mark.parametrize(
    ("mime_types", "category"),
    [
        (["text/html", "x-scheme-handler/https"], "Network"),
        (["x-scheme-handler/mailto"], "Network"),
        (["audio/flac"], "AudioVideo"),
        (["video/mp4"], "AudioVideo"),
        (["image/png"], "Graphics"),
        (["application/vnd.oasis.opendocument.text"], "Office"),
        (["application/vnd.openxmlformats-officedocument.wordprocessingml.document"], "Office"),
        (["text/plain"], "Utility"),
        ([], "Utility"),
    ],
)
def test_the_category_follows_from_the_file_types(mime_types: list[str], category: str) -> None:
    text = the_launcher(application("a", mime_types=mime_types))
    assert keys(text)["Categories"] == f"{category};X-Guestlink;"


def test_launchers_offer_to_uninstall_what_can_be_uninstalled_if_the_user_wants_that(tmp_path: Path) -> None:
    owned = application("org.example.Ünder", exec="x", package_id="example;1;all;installed")
    applications, _ = read_applications([owned, application("other", exec="x")])
    offers = [plan("demo", applications.values(), PROGRAM, offers_uninstall=wanted) for wanted in (True, False)]
    assert [b"Actions=" in text for launcher in offers for text in launcher.values()] == [True, False, False, False]
    text = next(iter(offers[0].values())).decode()
    last = text.splitlines()[-1]
    assert text.splitlines()[-3:-1] == ["[Desktop Action uninstall]", "Name=Uninstall"]
    assert last == "Exec=/usr/bin/guestlink-host uninstall --ask --percent-encoded demo org.example.%%C3%%9Cnder"
    need("desktop-file-validate", packages="desktop-file-utils")
    file = tmp_path / "a.desktop"
    file.write_text(text)
    done = subprocess.run(["desktop-file-validate", file], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "")
