"""Which URL the host opens for a container's URL, and what a container learns about the user's files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guestlink_host.border.rate_limit import RateLimit
from guestlink_host.border.url_policy import Share, UrlRefused, file_for_container, translate_url

SCHEMES = ("http", "https", "ftp", "mailto")
SHARES = (Share("/home/me/Docs", "/home/u"), Share("/home/me/Docs/deep", "/mnt/deep"), Share("/srv", "/srv"))


def opened(url: str, ip: str = "10.0.0.2") -> str:
    return translate_url(url, schemes=SCHEMES, ip=ip, shares=SHARES)


@pytest.mark.parametrize(
    ("url", "result"),
    [
        ("http://localhost/", "http://10.0.0.2/"),
        ("http://localhost:8080/", "http://localhost:8080/"),
        ("http://127.0.0.1:80/x", "http://10.0.0.2:80/x"),
        ("HTTPS://user:pw@LOCALHOST:443?a=b#c", "https://user:pw@10.0.0.2:443?a=b#c"),
        ("http://localhost", "http://10.0.0.2"),
        ("http://localhost:1023/", "http://10.0.0.2:1023/"),
        ("http://localhost:1024/", "http://localhost:1024/"),
        ("http://localhost.example/", "http://localhost.example/"),
        ("http://127.0.0.10/", "http://127.0.0.10/"),
        ("http://example.org/http://localhost/", "http://example.org/http://localhost/"),
        ("http://example.org?u=a@localhost/", "http://example.org?u=a@localhost/"),
        ("mailto:localhost@example.org", "mailto:localhost@example.org"),
        ("file:///home/u/a.pdf", "file:///home/me/Docs/a.pdf"),
        ("file://localhost/home/u/", "file:///home/me/Docs"),
        ("FILE:/home/u/%41%20b", "file:///home/me/Docs/A%20b"),
        ("file:///home/u/b%E9t.txt", "file:///home/me/Docs/b%E9t.txt"),
        ("file:///home/u/a%23b.html?q=%41#part 2", "file:///home/me/Docs/a%23b.html?q=%41#part%202"),
        ("file:///mnt/deep/x", "file:///home/me/Docs/deep/x"),
        ("file:///home/u/a b.pdf", "file:///home/me/Docs/a%20b.pdf"),
        ("https://e.org/a b?c=d e#f g", "https://e.org/a%20b?c=d%20e#f%20g"),
        ("https://e.org/a%20b", "https://e.org/a%20b"),
        ("www.example.org", "http://www.example.org"),
        ("WWW.Example.org/a b", "http://WWW.Example.org/a%20b"),
        ("\t https://e.org/ \r\n", "https://e.org/"),
        ("HTTPS://E.org/A", "https://E.org/A"),
        ("https://bücher.example/ä", "https://bücher.example/ä"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
        ("https://fa.example/\u0645\u06cc\u200c\u062e", "https://fa.example/\u0645\u06cc%E2%80%8C\u062e"),
        ("http://[::1]:8080/a b", "http://[::1]:8080/a%20b"),
        ("http://[fe80::1%25eth0]/", "http://[fe80::1%25eth0]/"),
        ("https://e.org/a[b?c]d[", "https://e.org/a[b?c]d["),
        ("MAILTO:a@e.org?subject=two words", "mailto:a@e.org?subject=two%20words"),
        ("https:e.org/x", "https://e.org/x"),
        ("HTTP:/e.org", "http://e.org"),
        ("https:///e.org//x", "https://e.org//x"),
        (r"https:\\e.org", "https://e.org"),
        ("http:localhost:80", "http://10.0.0.2:80"),
        ("mailto:", "mailto:"),
        ("mailto:?body=x", "mailto:?body=x"),
        ("https://e.org/" + "x" * 60_000, "https://e.org/" + "x" * 60_000),
    ],
)
def test_urls_of_a_container_and_what_the_host_opens(url: str, result: str) -> None:
    """Cases H4 and H5 (chromeos-garcon.md §9.7), and more."""
    assert opened(url) == result


def test_without_an_address_localhost_stays() -> None:
    assert opened("http://localhost/", ip="") == "http://localhost/"


def test_an_ipv6_address_gets_brackets() -> None:
    assert opened("http://localhost:80/", ip="fd00::2") == "http://[fd00::2]:80/"


@pytest.mark.parametrize(
    "url",
    ["file:///home/u/../x", "file:///home/u/%2e%2e/x", "file:///home/user2/x", "file://host/home/u/x",
     "file:home/u", "file:///home/u/%00", "file:///etc/passwd", "gopher://x/", "x", "",
     "https:", "https://", "http:///", "https:?x", "http:/#",
     "http://[::1", "file://[::1/x",
     "a b:c"],
)  # fmt: skip
def test_everything_else_is_refused(url: str) -> None:
    with pytest.raises(UrlRefused):
        opened(url)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("/nonexist", "'/nonexist' is neither a file of the container nor a URL"),
        ("./notes.txt", "'./notes.txt' is neither a file of the container nor a URL"),
        ("../notes.txt", "'../notes.txt' is neither a file of the container nor a URL"),
        ("~/notes.txt", "'~/notes.txt' is neither a file of the container nor a URL"),
        ("notes.txt", "'notes.txt' is not a URL"),
        ("", "there is no URL"),
        ("http://[::1/", "the URL's host cannot be read"),
        ("http://::1]/", "the URL's host cannot be read"),
        ("http://a b/", "the URL's host contains a space"),
        ("http://a\u202egnp.exe/", "the URL's host contains a space or an invisible character"),
        ("https://e.org/a\nb", "control characters"),
        ("https://e.org/a\x7fb", "control characters"),
        ("https://e.org/a\x9fb", "control characters"),
        ("https://e.org/" + " " * 50_000 + "x", "at most 100000"),
        ("file:///etc/passwd", "is in no folder that the container shares"),
    ],
)
def test_a_refusal_names_what_is_wrong(text: str, sentence: str) -> None:
    with pytest.raises(UrlRefused) as refused:
        opened(text)
    assert sentence in refused.value.message
    assert len(refused.value.message) < 200


def test_a_file_that_is_not_shared_is_told_how_to_be() -> None:
    with pytest.raises(UrlRefused) as refused:
        translate_url("file:///etc/passwd", schemes=SCHEMES, name="work")
    assert "`guestlink-host share work FOLDER /etc`" in refused.value.hint


def test_a_scheme_that_is_not_opened_comes_with_advice() -> None:
    with pytest.raises(UrlRefused, match="begin with magnet: are not opened") as refused:
        translate_url("magnet:?xt=urn:x", schemes=SCHEMES)
    assert "url_schemes" in refused.value.hint


@given(st.text(max_size=60), st.sampled_from(["", "file:", "http://", "https://localhost"]))
def test_a_url_that_is_opened_has_an_allowed_scheme_and_no_surprises(text: str, beginning: str) -> None:
    try:
        url = opened(beginning + text)
    except UrlRefused:
        return
    scheme = url.partition(":")[0].lower()
    assert scheme in (*SCHEMES, "file")
    assert url.isprintable()
    assert " " not in url
    assert scheme != "file" or url.startswith(("file:///home/me/Docs", "file:///srv"))


@pytest.mark.parametrize(
    ("text", "inside"),
    [
        ("/home/me/Docs/a b", "/home/u/a b"),
        ("/home/me/Docs", "/home/u"),
        ("/home/me/Docs/deep/x", "/mnt/deep/x"),
        ("/home/me/Docs/../secret", "/home/me/Docs/../secret"),
        ("file:///home/me/Docs/%C3%A4", "/home/u/ä"),
        ("/elsewhere/x", "/elsewhere/x"),
        ("file:///elsewhere/x", "/elsewhere/x"),
        ("https://example.org/", "https://example.org/"),
        ("relative", "relative"),
    ],
)
def test_files_of_the_user_and_what_the_container_is_told(text: str, inside: str) -> None:
    assert file_for_container(text, SHARES) == inside


def test_a_rate_limit_slides() -> None:
    limit = RateLimit(2, 10)
    assert [limit.allows(now) for now in (0, 1, 2, 9.9, 10, 10.5, 11)] == [
        True, True, False, False, True, False, True,
    ]  # fmt: skip


def test_a_folder_is_shared_under_its_whole_name() -> None:
    shares = (Share("/home/me/X", "/mnt/X"), Share("/srv/", "/srv/"))
    assert translate_url("file:///mnt/X/a", schemes=SCHEMES, shares=shares) == "file:///home/me/X/a"
    assert file_for_container("/home/me/X/a", shares) == "/mnt/X/a"
    assert file_for_container("/srv/a", shares) == "/srv/a"
    with pytest.raises(UrlRefused):
        translate_url("file:///mnt/a", schemes=SCHEMES, shares=shares)
