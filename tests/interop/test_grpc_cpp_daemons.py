"""garcon and guestlink-host as real processes; the peer of every RPC uses gRPC's C++ library."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.grpc_cpp import CppPeer
from support.stage import Stage

pytestmark = pytest.mark.interop

TOKEN = "8a3f2b1c-0d4e-4f5a-9b6c-7d8e9f0a1b2c"
OK, INVALID_ARGUMENT, FAILED_PRECONDITION, UNIMPLEMENTED = 0, 3, 9, 12
FILE_WATCHES = [
    ("AddFileWatch", "", "SUCCEEDED", ""),
    ("AddFileWatch", "Docs", "SUCCEEDED", ""),
    ("AddFileWatch", "Docs", "FAILED", "already watching path"),
    ("AddFileWatch", "/x", "FAILED", "invalid path"),
    ("AddFileWatch", "a/../b", "FAILED", "invalid path"),
    ("RemoveFileWatch", "Docs", "SUCCEEDED", ""),
    ("RemoveFileWatch", "Docs", "FAILED", "not watching path"),
]
"""The conformance cases W1 and W2 of chromeos-garcon.md §9.7."""


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage("peer", system_applications=False)
    yield stage
    stage.close()


def _hear(peer: CppPeer, rpc: str) -> dict[str, Any]:
    """The next request of an RPC; requests of other RPCs are skipped."""
    while True:
        heard: dict[str, Any] = peer.line()
        if heard.get("rpc") == rpc:
            return dict(heard["request"])


async def test_garcon_speaks_to_a_host_in_cpp(stage: Stage) -> None:
    carried = Path(stage.guest_environ["GUESTLINK_TOKEN_FILE"]).parent
    carried.mkdir(parents=True)
    (carried / "token").write_text(TOKEN)
    mark = stage.root / "mark"
    # The host in C++ dials, as ChromeOS's does; guestlink-host has garcon park connections instead.
    address = stage.guest_environ["GUESTLINK_GARCON_ADDRESS"] = f"unix:{stage.root}/garcon.sock"
    stage.add_application("org.example.One", Name="One", Exec=f"touch {mark}", MimeType="text/plain;")

    def converse() -> None:
        with CppPeer("serve", f"unix:{carried}/listener.sock") as host:
            assert "serving" in host.line()
            stage.start_garcon()
            assert _hear(host, "ContainerReady")["token"] == TOKEN
            (app,) = _hear(host, "UpdateApplicationList")["application"]
            assert (app["desktop_file_id"], app["executable_file_name"]) == ("org.example.One", "touch")
            assert app["mime_types"] == ["text/plain"]
            assert _hear(host, "UpdateMimeTypes")["mime_type_mappings"]["png"] == "image/png"
            stage.guestlink("open", "https://example.org/")
            assert _hear(host, "OpenUrl") == {"url": "https://example.org/", "token": TOKEN}
            stage.guestlink("terminal", "--", "top", "-b")
            assert _hear(host, "OpenTerminal") == {"token": TOKEN, "params": ["top", "-b"]}
            _ask_for_the_rest(stage, host)
            stage.add_application("org.example.Two")
            assert _hear(host, "PendingUpdateApplicationListCalls")["count"] == 1
            assert len(_hear(host, "UpdateApplicationList")["application"]) == 2
            _call_garcon(address)
            stage.stop("garcon")

    await asyncio.to_thread(converse)
    stage.wait("the application ran", mark.exists)


def _ask_for_the_rest(stage: Stage, host: CppPeer) -> None:
    garcon = (sys.executable, "-m", "garcon", "--client")
    assert stage.guest(*garcon, "--selectfile", "--title=T", "--path=/p").stdout == ""
    asked = _hear(host, "SelectFile")
    assert (asked["token"], asked["title"], asked["default_path"]) == (TOKEN, "T", "/p")
    stage.guest(*garcon, "--metrics", "a=1,b=2")
    metrics = [{"name": "a", "value": "1"}, {"name": "b", "value": "2"}]
    assert _hear(host, "ReportMetrics")["metric"] == metrics
    cache = (*garcon, "--borealis-shader-cache", f"--app-id={2**64 - 1}")
    for verb, rpc in (("install", "InstallShaderCache"), ("uninstall", "UninstallShaderCache")):
        stage.guest(*cache, f"--{verb}")
        assert _hear(host, rpc)["steam_app_id"] == str(2**64 - 1)
    stage.guest(*cache, "--unmount", "--wait")
    assert _hear(host, "UnmountShaderCache")["wait"] is True


def _call_garcon(address: str) -> None:
    with CppPeer("call", address) as client:
        launched = client.call("LaunchApplication", {"desktop_file_id": "org.example.One"})
        assert (launched["code"], launched["response"]["success"]) == (OK, True)
        refused = client.call("LaunchApplication", {"desktop_file_id": "unknown"})
        assert (refused["code"], refused["response"]["failure_reason"]) == (OK, "Desktop file does not exist")
        assert client.call("LaunchApplication", {})["code"] == INVALID_ARGUMENT
        icon = {"desktop_file_ids": ["org.example.One"], "icon_size": 48, "scale": 1}
        assert client.call("GetIcon", icon)["code"] == OK
        info = client.call("GetGarconSessionInfo", {})
        assert (info["code"], info["response"]["status"]) == (OK, "SUCCEEDED")
        report = client.call("GetDebugInformation", {})
        assert report["code"] == OK
        assert "Installed Crostini Packages:" in report["response"]["debug_information"]
        assert client.call("LaunchVshd", {})["code"] == INVALID_ARGUMENT
        shell = client.call("LaunchVshd", {"port": 2254857830})
        assert (shell["code"], shell["response"]["success"]) == (OK, True)
        for method, path, status, reason in FILE_WATCHES:
            answer = client.call(method, {"path": path})
            expected = {"status": status, "failure_reason": reason}
            assert (answer["code"], answer["response"]) == (OK, expected), (method, path)
        for method in ("GetLinuxPackageInfo", "InstallLinuxPackage", "UninstallPackageOwningFile"):
            assert client.call(method, {})["code"] == INVALID_ARGUMENT, method
        for method in ("ApplyAnsiblePlaybook", "ConfigureForArcSideload"):
            assert client.call(method, {})["code"] == UNIMPLEMENTED, method


async def test_guestlink_host_serves_a_container_in_cpp(stage: Stage) -> None:
    stage.start_host()
    stage.host("add", stage.name)
    carried = Path(stage.guest_environ["GUESTLINK_TOKEN_FILE"]).parent
    token = (carried / "token").read_text()

    def converse() -> None:
        with CppPeer("call", f"unix:{carried}/listener.sock") as container:

            def call(method: str, token: str, **fields: Any) -> int:
                return int(container.call(method, {"token": token, **fields})["code"])

            app = {"desktop_file_id": "one", "name": {"values": [{"value": "One"}]}, "exec": "x"}
            assert call("UpdateApplicationList", token, application=[app]) == FAILED_PRECONDITION  # T5
            assert call("ContainerReady", "wrong", garcon_port=1) == FAILED_PRECONDITION  # T1
            assert call("ContainerReady", token, garcon_port=1) == OK
            assert call("ContainerReady", token, garcon_port=2) == OK  # T2
            assert call("UpdateApplicationList", "wrong", application=[app]) == FAILED_PRECONDITION
            assert call("UpdateApplicationList", token, application=[app]) == OK
            assert call("UpdateMimeTypes", token, mime_type_mappings={"txt": "text/plain"}) == OK
            assert call("PendingUpdateApplicationListCalls", "", count=1) == INVALID_ARGUMENT
            assert call("PendingUpdateApplicationListCalls", token, count=1) == OK
            assert call("OpenUrl", token, url="file:///etc/passwd") == FAILED_PRECONDITION
            assert call("FileWatchTriggered", token, path="Docs") == OK
            assert call("FileWatchTriggered", "wrong", path="Docs") == FAILED_PRECONDITION
            assert call("LowDiskSpaceTriggered", token, free_bytes="5") == OK
            assert call("InstallLinuxPackageProgress", token, status="SUCCEEDED", command_uuid="unknown") == OK
            assert call("UninstallPackageProgress", token, status="FAILED", failure_details="unknown") == OK
            assert call("ReportMetrics", token) == UNIMPLEMENTED
            stage.wait("the launcher", stage.launchers)
            assert call("ContainerShutdown", token) == OK
            assert call("ContainerReady", token, garcon_port=1) == FAILED_PRECONDITION  # T3

    await asyncio.to_thread(converse)
    assert (carried / "token").read_text() != token
