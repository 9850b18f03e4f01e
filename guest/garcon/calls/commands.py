"""The calls of ``guestlink`` and ``garcon --client``, which arrive over garcon's control socket.

Most of them become an RPC of the host's ContainerListener.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from garcon.host.listener_client import HostRefused
from garcon.parts import GarconParts
from guestlink import __version__
from guestlink.control import CallHandler
from guestlink.errors import GuestlinkError
from guestlink.logs import recent_messages

_SHADER_CACHE_TIMEOUT = 60.0
"""Seconds for an RPC about a shader cache that does not wait for the work to end."""
_DESCRIPTION_TIMEOUT = 3.0
"""Seconds for the host to describe the way of windows or sound: a command waits for it."""
METRICS_LIMIT = 32
"""Metrics of one report that the host accepts (chromeos-garcon.md §1.4)."""
_OTHER_VERSION = "the command may be of another version than garcon: systemctl --user restart guestlink-garcon"


class CommandCalls:
    """The handlers of the control socket; each takes and returns fields of JSON."""

    def __init__(self, parts: GarconParts) -> None:
        self._config = parts.config
        self._host = parts.host
        self._programs = parts.programs
        self._publisher = parts.publisher

    @property
    def handlers(self) -> dict[str, CallHandler]:
        """The handlers by call name."""
        return {
            "status": self._status,
            "apps": self._apps,
            "log": self._log,
            "open_url": self._open_url,
            "open_terminal": self._open_terminal,
            "select_file": self._select_file,
            "report_metrics": self._report_metrics,
            "shader_cache": self._shader_cache,
            "windows": lambda _: self._describe("DescribeWindows"),
            "sound": lambda _: self._describe("DescribeSound"),
        }

    async def _status(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {
            "version": __version__,
            **self._host.describe(),
            "detached_programs": self._programs.detached,
            "applications": len(self._publisher.current.applications),
            "warnings": [*self._config.warnings, *filter(None, [self._publisher.left_out])],
        }

    async def _describe(self, method: str) -> dict[str, Any]:
        """The way that windows or sound take on a Linux host."""
        if self._host.is_chromeos:
            return {}
        try:
            answer = await self._host.call(method, _DESCRIPTION_TIMEOUT)
        except HostRefused:
            return {}  # a guestlink-host that does not know the call
        return {"way": answer.way, "why": answer.why}

    async def _log(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {"lines": recent_messages()}

    async def _apps(self, fields: dict[str, Any]) -> dict[str, Any]:
        await self._publisher.rescan()
        return {
            "applications": [
                {
                    "id": application.desktop_file_id,
                    "name": application.entry.name,
                    "path": application.path,
                    "exec": application.entry.exec,
                    "no_display": application.entry.no_display,
                    "terminal": application.entry.terminal,
                }
                for application in self._publisher.current.applications
            ]
        }

    async def _open_url(self, fields: dict[str, Any]) -> dict[str, Any]:
        await self._host.call_when_started("OpenUrl", url=_text(fields, "url"))
        return {}

    async def _open_terminal(self, fields: dict[str, Any]) -> dict[str, Any]:
        params = fields.get("params", [])
        if not isinstance(params, list) or not all(isinstance(word, str) for word in params):
            raise GuestlinkError("a terminal's command is not a list of words", hint=_OTHER_VERSION)
        await self._host.call_when_started("OpenTerminal", params=[_utf8(word) for word in params])
        return {}

    async def _select_file(self, fields: dict[str, Any]) -> dict[str, Any]:
        names = ("type", "title", "default_path", "allowed_extensions")
        texts = {name: _text(fields, name) for name in names}
        answer = await self._host.call_when_started("SelectFile", None, **texts)
        return {"files": list(answer.files)}

    async def _report_metrics(self, fields: dict[str, Any]) -> dict[str, Any]:
        from guestlink.pb import container_host_pb2

        # The command's values are unsigned and the field is signed: ChromeOS's garcon copies the bits
        # (chromeos-garcon.md §1.8).
        metrics = [
            container_host_pb2.Metric(name=name, value=value if value < 1 << 63 else value - (1 << 64))
            for name, value in _metrics(fields)
        ]
        answer = await self._host.call_when_started("ReportMetrics", metric=metrics)
        return {"error": answer.error}

    async def _shader_cache(self, fields: dict[str, Any]) -> dict[str, Any]:
        verb, app_id = _text(fields, "verb"), _number("app_id", fields.get("app_id"))
        mount, wait = _flag(fields, "mount"), _flag(fields, "wait")
        timeout = None if wait else _SHADER_CACHE_TIMEOUT
        call = self._host.call_when_started
        match verb:
            case "install":
                await call("InstallShaderCache", timeout, steam_app_id=app_id, mount=mount, wait=wait)
            case "unmount":
                await call("UnmountShaderCache", timeout, steam_app_id=app_id, wait=wait)
            case "uninstall":
                await call("UninstallShaderCache", timeout, steam_app_id=app_id)
            case _:
                raise GuestlinkError(f"a shader cache has no action {verb!r:.40}", hint=_OTHER_VERSION)
        return {}


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise GuestlinkError(f"{name} is not a text", hint=_OTHER_VERSION)
    return _utf8(value)


def _flag(fields: Mapping[str, Any], name: str) -> bool:
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise GuestlinkError(f"{name} is neither true nor false", hint=_OTHER_VERSION)
    return value


def _number(name: str, value: object) -> int:
    """An unsigned number of 64 bits; JSON's ``true`` is none."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 64:
        raise GuestlinkError(f"{name} is not an unsigned number of 64 bits", hint=_OTHER_VERSION)
    return value


def _metrics(fields: Mapping[str, Any]) -> list[tuple[str, int]]:
    pairs = fields.get("metrics", [])
    if not isinstance(pairs, list):
        raise GuestlinkError("metrics is not a list of names and values", hint=_OTHER_VERSION)
    if len(pairs) > METRICS_LIMIT:
        raise GuestlinkError(
            f"{len(pairs)} metrics are too many for one report",
            hint=f"report at most {METRICS_LIMIT} metrics at a time",
        )
    metrics = []
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], str):
            raise GuestlinkError("a metric is not a name and a value", hint=_OTHER_VERSION)
        metrics.append((pair[0], _number("the value of a metric", pair[1])))
    return metrics


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise GuestlinkError(
            f"{text!r} is not UTF-8, and the host accepts only UTF-8", hint="rename the file, or escape the URL"
        ) from error
    return text
