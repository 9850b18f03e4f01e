"""ssh's own options, for programs that start ``vsh`` in ssh's place. Pure (ssh(1), ssh_config(5)).

vsh obeys options about the session. It refuses options about another route to the container, or a route through
it. Options about the network, encryption and keys have no effect: there are none between host and container.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from guestlink.errors import GuestlinkError

EX_USAGE = 64
"""Exit status for a flag that does not exist (chromeos-vsh.md §3.14)."""
EX_DATAERR = 65
"""Exit status for a flag with an invalid value."""

_SWITCHES = {
    "f": ("background", "yes"),
    "G": ("prints_config", "yes"),
    "h": ("help", "yes"),
    "n": ("no_input", "yes"),
    "s": ("subsystem", "yes"),
    "t": ("terminal", "yes"),
    "T": ("terminal", "no"),
    "V": ("version", "yes"),
}
_VALUES = {"e": "escape", "l": "user"}
_IGNORED_SWITCHES = frozenset("246aCgKkMqvXxYy")
_IGNORED_VALUES = frozenset("BbcEFIimPS")
_REFUSED_SWITCHES = {"A": "passes no agent on", "N": "opens no session without a shell or a command"}
_REFUSED_VALUES = {
    "D": "forwards no ports",
    "J": "goes through no other host",
    "L": "forwards no ports",
    "O": "shares no connections",
    "Q": "has no ciphers to list",
    "R": "forwards no ports",
    "W": "forwards no ports",
    "w": "makes no tunnels",
}

_KEYWORDS = {
    "escapechar": "escape",
    "forkafterauthentication": "background",
    "requesttty": "terminal",
    "sendenv": "send_env",
    "sessiontype": "subsystem",
    "setenv": "env",
    "stdinnull": "no_input",
    "user": "user",
}
_REFUSED_KEYWORDS = {
    "dynamicforward": "forwards no ports",
    "forwardagent": "passes no agent on",
    "hostname": "finds a container by its name alone",
    "localforward": "forwards no ports",
    "permitlocalcommand": "runs no local commands",
    "proxycommand": "goes through no other program",
    "proxyjump": "goes through no other host",
    "remotecommand": "takes the command only after the container's name",
    "remoteforward": "forwards no ports",
    "tunnel": "makes no tunnels",
}
_IGNORED_KEYWORDS = frozenset(
    """
    addkeystoagent addressfamily batchmode bindaddress bindinterface canonicaldomains canonicalizefallbacklocal
    canonicalizehostname canonicalizemaxdots canonicalizepermittedcnames casignaturealgorithms certificatefile
    challengeresponseauthentication channeltimeout checkhostip ciphers clearallforwardings compression
    connectionattempts connecttimeout controlmaster controlpath controlpersist enableescapecommandline
    enablesshkeysign exitonforwardfailure fingerprinthash forwardx11 forwardx11timeout forwardx11trusted
    gatewayports globalknownhostsfile gssapiauthentication gssapiclientidentity gssapidelegatecredentials
    gssapikexalgorithms gssapikeyexchange gssapirenewalforcesrekey gssapiserveridentity gssapitrustdns
    hashknownhosts hostbasedacceptedalgorithms hostbasedauthentication hostbasedkeytypes hostkeyalgorithms
    hostkeyalias identitiesonly identityagent identityfile ipqos kbdinteractiveauthentication
    kbdinteractivedevices kexalgorithms knownhostscommand localcommand loglevel logverbose macs
    nohostauthenticationforlocalhost numberofpasswordprompts obscurekeystroketiming passwordauthentication
    permitremoteopen pkcs11provider preferredauthentications proxyusefdpass pubkeyacceptedalgorithms
    pubkeyacceptedkeytypes pubkeyauthentication rekeylimit requiredrsasize revokedhostkeys
    rhostsrsaauthentication securitykeyprovider serveralivecountmax serveraliveinterval streamlocalbindmask
    streamlocalbindunlink stricthostkeychecking syslogfacility tag tcpkeepalive tunneldevice updatehostkeys
    userknownhostsfile verifyhostkeydns versionaddendum visualhostkey warnweakcrypto xauthlocation

    afstokenpassing cipher compressionlevel dsaauthentication fallbacktorsh globalknownhostsfile2 keepalive
    kerberosauthentication kerberostgtpassing protocol rhostsauthentication rsaauthentication skeyauthentication
    smartcarddevice tisauthentication useblacklistedkeys useprivilegedport userknownhostsfile2 useroaming usersh
    """.split()
)
"""The last group are keywords that ssh itself only accepts and ignores, as it does ``-2``, which sshfs passes."""
_NEUTRAL = frozenset({"no", "none", "false"})
_ANSWERS = {
    "background": {"yes": "yes", "true": "yes", "no": "", "false": ""},
    "no_input": {"yes": "yes", "true": "yes", "no": "", "false": ""},
    "subsystem": {"subsystem": "yes", "default": ""},
    "terminal": {"yes": "yes", "true": "yes", "force": "yes", "no": "no", "false": "no", "auto": ""},
}
_URL = re.compile("ssh://([^/:]*)(?::([^/]*))?/?", re.IGNORECASE)
_CONFIG_LINE = re.compile(r"\s*([A-Za-z0-9]+)(?:\s*=\s*|\s+)(\S.*?)\s*", re.DOTALL)


IGNORE_UNKNOWN, UNKNOWN = "ignore_unknown", "unknown"
"""Names for patterns of keywords, and for a keyword that ssh does not have, an error unless one matches."""


def read_options(word: str, following: list[str]) -> Iterator[tuple[str, str, bool]]:
    """Parse a word of short options: ``-tt``, ``-xC``, ``-l USER``, ``-oUser=ana``.

    :param following: the words after it; a value is removed from them.
    :returns: names of vsh's options, their values as text, and whether the value counts only if the option has none
        yet, as in ssh's configuration.
    :raises GuestlinkError: the option does not exist, its value is invalid, or vsh refuses it.
    """
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter in _SWITCHES:
            yield (*_SWITCHES[letter], False)
        elif letter in _REFUSED_SWITCHES:
            raise _refusal(f"-{letter}", _REFUSED_SWITCHES[letter])
        elif letter not in _IGNORED_SWITCHES:
            value = letters or _next(following, f"-{letter}", letter)
            yield from _valued(letter, value)
            return


def _next(following: list[str], option: str, letter: str) -> str:
    if letter not in {"o", "p"} | _VALUES.keys() | _REFUSED_VALUES.keys() | _IGNORED_VALUES:
        raise _unknown(option)
    if not following:
        raise GuestlinkError(f"{option} needs a value", hint="`vsh --help` shows how", exit_code=EX_DATAERR)
    return following.pop(0)


def _valued(letter: str, value: str) -> Iterator[tuple[str, str, bool]]:
    if letter in _VALUES:
        yield _VALUES[letter], value, False
    elif letter == "o":
        yield from ((name, text, True) for name, text in _configured(value))
    elif letter == "p":
        _check_port(value)
    elif (letter, value.lower()) == ("J", "none"):
        return
    elif letter in _REFUSED_VALUES:
        raise _refusal(f"-{letter}", _REFUSED_VALUES[letter])
    elif letter not in _IGNORED_VALUES:
        raise _unknown(f"-{letter}")


def _configured(line: str) -> Iterator[tuple[str, str]]:
    """Parse a line of ssh's configuration, ``Keyword=value`` or ``Keyword value``; the value may have quotes."""
    if not line.strip() or line.lstrip().startswith("#"):
        return
    match = _CONFIG_LINE.fullmatch(line)
    if match is None:
        raise GuestlinkError(f"-o {line!r:.80} sets nothing", hint="write -o KEYWORD=VALUE", exit_code=EX_DATAERR)
    keyword, value = match[1].lower(), match[2]
    if len(value) >= 2 and value[0] == value[-1] == '"' and keyword != "setenv":
        value = value[1:-1]
    option = f"-o {match[1]}"
    if keyword == "port":
        _check_port(value)
    elif keyword == "setenv":
        yield from (("env", word) for word in _words(option, value))
    elif keyword in _KEYWORDS:
        name = _KEYWORDS[keyword]
        answers = _ANSWERS.get(name)
        if answers is not None and value.lower() not in answers:
            words = ", ".join(answers)
            raise GuestlinkError(
                f"{option} cannot be {value!r:.80}", hint=f"use one of {words}", exit_code=EX_DATAERR
            )
        yield name, value if answers is None else answers[value.lower()]
    elif keyword in _REFUSED_KEYWORDS:
        if value.lower() not in _NEUTRAL:
            raise _refusal(option, _REFUSED_KEYWORDS[keyword])
    elif keyword == "ignoreunknown":
        yield IGNORE_UNKNOWN, value.lower()
    elif keyword not in _IGNORED_KEYWORDS:
        yield UNKNOWN, match[1]


def _words(option: str, text: str) -> list[str]:
    import shlex

    try:
        return shlex.split(text)
    except ValueError as error:
        raise GuestlinkError(
            f"{option}: a quote in {text!r:.80} is not closed",
            hint="close it, or leave it out",
            exit_code=EX_DATAERR,
        ) from error


def destination(word: str) -> str:
    """Turn ``ssh://[USER@]NAME[:22]`` into ``[USER@]NAME``; other words are unchanged."""
    match = _URL.fullmatch(word)
    if match is None:
        return word
    if match[2] is not None:
        _check_port(match[2])
    return match[1]


def _check_port(text: str) -> None:
    if text != "22":
        raise _refusal(f"the port {text!r:.20}", "connects to no port")


def _refusal(option: str, why: str) -> GuestlinkError:
    return GuestlinkError(
        f"vsh {why}: {option} has no meaning here",
        hint="leave it out, or use ssh itself: `guestlink-host ssh-config NAME` sets it up",
        exit_code=EX_USAGE,
    )


def unknown_keyword(keyword: str) -> GuestlinkError:
    """The error for a keyword of ``-o`` that ssh does not have."""
    return _unknown(f"-o {keyword}")


def _unknown(option: str) -> GuestlinkError:
    return GuestlinkError(f"there is no option {option}", hint="`vsh --help` lists the options", exit_code=EX_USAGE)
