"""What the host promises about its sound server, with PulseAudio and with PipeWire's pipewire-pulse."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import random
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from guestlink import acl
from guestlink_host.border.sound.belongings import STREAM_LIMIT
from guestlink_host.border.sound.commands import NONE, Command, ErrorCode
from guestlink_host.border.sound.frames import HEADER
from guestlink_host.border.sound.layouts import REQUESTS
from guestlink_host.border.sound.sound_border import ALL_CONNECTIONS, CONNECTIONS, GUARANTEED
from support.host import LIMIT, Host, host_in_test
from support.needs import absent
from support.raw_pulse import RECORD, RawPulse, Refused, numbers, texts
from support.sound_server import FRAME, RATE, SoundServer, sound_server

CONTAINER_USER = 201000
"""The host's id of a user in an id-mapped container."""
FACTORS = numbers(NONE) + texts("speakers")
"""The sink, as an index that is not used and a name."""
VOLUME = b"v\x01\0\0\x10\0"
ATTACKS = {
    "LOAD_MODULE": texts("module-native-protocol-tcp", "port=4999 auth-anonymous=1"),
    "UNLOAD_MODULE": numbers(1),
    "EXIT": b"",
    "STAT": b"",
    "KILL_CLIENT": numbers(0),
    "KILL_SINK_INPUT": numbers(0),
    "KILL_SOURCE_OUTPUT": numbers(0),
    "SET_SINK_VOLUME": FACTORS + VOLUME,
    "SET_SOURCE_VOLUME": numbers(NONE) + texts("mic") + VOLUME,
    "SET_SINK_MUTE": FACTORS + b"1",
    "SET_SOURCE_MUTE": numbers(NONE) + texts("mic") + b"1",
    "SET_DEFAULT_SINK": texts("other"),
    "SET_DEFAULT_SOURCE": texts("other.monitor"),
    "SUSPEND_SINK": FACTORS + b"1",
    "SUSPEND_SOURCE": numbers(NONE) + texts("mic") + b"1",
    "MOVE_SOURCE_OUTPUT": numbers(0, NONE) + texts("speakers.monitor"),
    "SET_CARD_PROFILE": numbers(0) + texts(None, "off"),
    "SET_SINK_PORT": FACTORS + texts("port"),
    "SET_SOURCE_PORT": FACTORS + texts("port"),
    "SET_PORT_LATENCY_OFFSET": numbers(0) + texts(None, "port") + b"r" + bytes(8),
    "SEND_OBJECT_MESSAGE": texts("/core", "list-handlers", None),
    "CREATE_UPLOAD_STREAM": texts("bell") + b"a\x03\x02\0\0\xbb\x80m\x02\x01\x02" + numbers(1024) + b"PN",
    "REMOVE_SAMPLE": texts("bell"),
}
"""Commands that no container may send, with bodies that both servers understand."""
SILENCE = bytes(RATE * FRAME // 2)


@pytest.fixture(scope="module", params=["pulseaudio", "pipewire"])
def server(request: pytest.FixtureRequest) -> Iterator[SoundServer]:
    with sound_server(request.param) as running:
        yield running


class Sound:
    """A host with one container, which has a user of its own."""

    def __init__(self, host: Host, server: SoundServer, directory: Path) -> None:
        self.host = host
        self.server = server
        self.socket = str(directory / "pulse")
        self._directory = directory
        self._raw: list[RawPulse] = []

    async def run(self, *argv: str, feed: bytes = b"") -> subprocess.CompletedProcess[str]:
        """Run a program as the container's user, who sees the container's directory alone."""
        return await asyncio.to_thread(self._run, argv, feed)

    def _run(self, argv: tuple[str, ...], feed: bytes) -> subprocess.CompletedProcess[str]:
        descriptor = os.open(self._directory, os.O_PATH | os.O_DIRECTORY)
        try:
            environ = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": "/nonexistent"}
            environ["PULSE_SERVER"] = f"unix:/proc/self/fd/{descriptor}/pulse"
            become = ["setpriv", f"--reuid={CONTAINER_USER}", f"--regid={CONTAINER_USER}", "--clear-groups"]
            done = subprocess.run(
                [*(become if os.getuid() == 0 else []), *argv],
                env=environ,
                input=feed,
                capture_output=True,
                timeout=LIMIT,
                check=False,
                pass_fds=(descriptor,),
                cwd="/",
            )
        finally:
            os.close(descriptor)
        return subprocess.CompletedProcess(argv, done.returncode, done.stdout.decode(), done.stderr.decode())

    async def raw(self, name: str = "raw") -> RawPulse:
        """A client of the container that sends anything."""
        client = await RawPulse.connect(self.socket, name=name)
        self._raw.append(client)
        return client

    async def host_client(self) -> RawPulse:
        """A client of the host, at the server itself."""
        cookie = bytes(255) + b"1"
        if self.server.kind == "pulseaudio":
            cookie = (self.server.root / "pulse/cookie").read_bytes()
        path = self.server.address.removeprefix("unix:")
        client = await RawPulse.connect(path, name="host", cookie=cookie)
        self._raw.append(client)
        return client

    async def state(self) -> str:
        """The server's state, as the host sees it."""
        return await asyncio.to_thread(self.server.state)

    async def policy(self, **values: str) -> None:
        """Change the container's policies."""
        await self.host.ask("policy", name="demo", **values)

    async def close(self) -> None:
        """Close the clients."""
        for client in self._raw:
            await client.close()


@pytest.fixture
async def sound(monkeypatch: pytest.MonkeyPatch, server: SoundServer) -> AsyncIterator[Sound]:
    monkeypatch.setenv("PULSE_SERVER", server.address)
    async with host_in_test(monkeypatch) as host:
        await host.ask("add", name="demo")
        directory = host.root / "run/guestlink-host/containers/demo"
        if os.getuid() == 0:
            acl.grant(directory, {CONTAINER_USER}, acl.READ | acl.ENTER)
        running = Sound(host, server, directory)
        yield running
        await running.close()
        await host.until(lambda: _is_quiet(server))


def _is_quiet(server: SoundServer) -> bool:
    return not server.streams() and len(server.streams("source-outputs")) <= (server.kind == "pulseaudio")


def noise(seconds: float) -> bytes:
    """Samples that nothing else plays."""
    return random.Random(5).randbytes(int(RATE * seconds) * FRAME)


# -- what a container may do -------------------------------------------------------------------------------------


async def test_what_a_container_plays_is_what_the_host_hears(sound: Sound) -> None:
    played = noise(0.7)
    words = ("pacat", "--raw", "--format=s16le", f"--rate={RATE}", "--channels=2")
    with sound.server.recorded() as recording:
        done = await sound.run(*words, feed=SILENCE + played + SILENCE)
        assert done.returncode == 0, done.stderr
        await sound.host.until(lambda: _heard(recording.read_bytes(), played, sound.server.kind))


def _heard(recording: bytes, played: bytes, kind: str) -> bool:
    """Whether a recording has all samples; PipeWire mixes floats, which may round a sample by one."""
    start = recording.find(played[: 64 * FRAME]) if kind == "pulseaudio" else _found_about(recording, played)
    if start < 0 or len(recording) - start < len(played):
        return False
    heard = recording[start : start + len(played)]
    return heard == played if kind == "pulseaudio" else _differ_at_most_one(heard, played)


def _found_about(recording: bytes, played: bytes) -> int:
    first = played[: 64 * FRAME]
    for start in range(0, len(recording) - len(first), FRAME):
        if recording[start + 1] == first[1] and _differ_at_most_one(recording[start : start + len(first)], first):
            return start
    return -1


def _differ_at_most_one(heard: bytes, played: bytes) -> bool:
    one, other = memoryview(heard).cast("h"), memoryview(played).cast("h")
    return all(abs(a - b) <= 1 for a, b in zip(one, other, strict=True))


async def test_a_container_sees_the_sinks_and_changes_its_own_volume(sound: Sound) -> None:
    client = await sound.raw()
    sinks = (await client.ask(Command.GET_SINK_INFO_LIST))["entries"]
    assert {b"speakers", b"other"} <= {sink["name"] for sink in sinks}
    stream = await client.stream()
    index = stream["index"]
    await client.ask(Command.SET_SINK_INPUT_VOLUME, index=index, volume=bytes((0, 0, 0x40, 0)) * 2)
    await client.ask(Command.SET_SINK_INPUT_MUTE, index=index, muted=True)
    seen = await client.ask(Command.GET_SINK_INPUT_INFO, index=index)
    assert (seen["volume"], seen["muted"]) == (bytes((0, 0, 0x40, 0)) * 2, True)
    other = next(sink["index"] for sink in sinks if sink["name"] == b"other")
    await client.ask(Command.MOVE_SINK_INPUT, index=index, device=other, device_name=None)
    assert (await client.ask(Command.GET_SINK_INPUT_INFO, index=index))["index"] == index
    # A second connection of the container sees the stream as its own, a mixer for example.
    mixer = await sound.raw()
    assert [entry["index"] for entry in (await mixer.ask(Command.GET_SINK_INPUT_INFO_LIST))["entries"]] == [index]


SDL = """
import ctypes

class Spec(ctypes.Structure):
    _fields_ = [("rate", ctypes.c_int), ("format", ctypes.c_uint16), ("channels", ctypes.c_uint8),
                ("silence", ctypes.c_uint8), ("samples", ctypes.c_uint16), ("padding", ctypes.c_uint16),
                ("size", ctypes.c_uint32), ("callback", ctypes.c_void_p), ("data", ctypes.c_void_p)]

sdl = ctypes.CDLL("libSDL2-2.0.so.0")
sdl.SDL_GetAudioDeviceName.restype = sdl.SDL_GetError.restype = ctypes.c_char_p
assert sdl.SDL_Init(0x10) == 0, sdl.SDL_GetError()
wanted = Spec(48000, 0x8010, 2, 0, 1024)
assert sdl.SDL_OpenAudioDevice(None, 0, ctypes.byref(wanted), None, 0), sdl.SDL_GetError()
print([sdl.SDL_GetAudioDeviceName(number, 0) for number in range(sdl.SDL_GetNumAudioDevices(0))])
sdl.SDL_Quit()
"""


async def test_a_program_of_sdl_opens_a_sink_although_it_sees_no_microphone(sound: Sound) -> None:
    """SDL 2.26 crashes if the default source has no name."""
    try:
        ctypes.CDLL("libSDL2-2.0.so.0")
    except OSError:
        absent("SDL is missing: apt install libsdl2-2.0-0")
    done = await sound.run("env", "SDL_AUDIODRIVER=pulseaudio", "/usr/bin/python3", "-c", SDL)
    assert done.returncode == 0, done.stderr
    assert "ull Output" in done.stdout or "speakers" in done.stdout


# -- what it may not ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "module",
    [
        "module-ladspa-sink plugin=/dev/.guestlink/evil",
        "module-pipe-sink file=/tmp/x",
        "module-native-protocol-tcp",
    ],
)
async def test_a_container_loads_no_module(sound: Sound, module: str) -> None:
    before = await sound.state()
    done = await sound.run("pactl", "load-module", *module.split())
    assert done.returncode == 1
    assert "Access denied" in done.stderr
    assert await sound.state() == before


async def test_a_container_changes_nothing_of_the_host(sound: Sound) -> None:
    before = await sound.state()
    client = await sound.raw()
    for name, body in ATTACKS.items():
        with pytest.raises(Refused) as caught:
            await client.raw(Command[name], body)
        assert caught.value.args[0] in (ErrorCode.ACCESS, ErrorCode.NOENTITY), name
    assert await sound.state() == before
    assert any("LOAD_MODULE" in event for event in await sound.host.events("refused"))


def test_every_command_is_either_known_or_attacked() -> None:
    """A command that is added to the allow-list needs a thought, and a new one of PulseAudio's is refused."""
    harmless = {
        "DELETE_UPLOAD_STREAM", "FINISH_UPLOAD_STREAM", "PLAY_SAMPLE", "GET_MODULE_INFO", "GET_MODULE_INFO_LIST",
        "GET_SAMPLE_INFO", "GET_SAMPLE_INFO_LIST", "GET_CARD_INFO", "GET_CARD_INFO_LIST", "EXTENSION",
    }  # fmt: skip
    from_server = {command.name for command in Command if 61 <= command <= 66 or 76 <= command <= 79}
    from_server |= {"ERROR", "REPLY", "STARTED", "CLIENT_EVENT", "PLAYBACK_STREAM_EVENT", "RECORD_STREAM_EVENT"}
    from_server |= {"PLAYBACK_BUFFER_ATTR_CHANGED", "RECORD_BUFFER_ATTR_CHANGED"}
    shared_memory = {"ENABLE_SRBCHANNEL", "DISABLE_SRBCHANNEL", "REGISTER_MEMFD_SHMID"}
    known = {command.name for command in REQUESTS}
    assert not known & ATTACKS.keys()
    assert known | ATTACKS.keys() | harmless | from_server | shared_memory == {command.name for command in Command}


@pytest.mark.parametrize("name", ["ENABLE_SRBCHANNEL", "REGISTER_MEMFD_SHMID", "REPLY", "SUBSCRIBE_EVENT"])
async def test_a_container_that_offers_memory_or_plays_the_server_is_disconnected(sound: Sound, name: str) -> None:
    client = await sound.raw()
    client.send(numbers(Command[name], 99, 1))
    assert await client.is_closed()


async def test_a_block_in_shared_memory_ends_the_connection(sound: Sound) -> None:
    client = await sound.raw()
    channel = (await client.stream())["channel"]
    client.send_bytes(HEADER.pack(16, channel, 0, 0, 0x80000000) + bytes(16))
    assert await client.is_closed()


async def test_descriptors_of_the_container_reach_nobody(sound: Sound) -> None:
    read, write = os.pipe()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(sound.socket)
        socket.send_fds(sock, [HEADER.pack(4, NONE, 0, 0, 0) + b"L\0\0\0"], [write])
        os.close(write)
        # With its last writer gone the pipe ends: nobody kept the descriptor.
        assert await asyncio.to_thread(os.read, read, 1) == b""
    os.close(read)


async def test_other_programs_streams_are_out_of_reach(sound: Sound) -> None:
    host = await sound.host_client()
    stream = (await host.stream())["index"]
    client = await sound.raw()
    assert (await client.ask(Command.GET_SINK_INPUT_INFO_LIST))["entries"] == []
    assert [entry["name"] for entry in (await client.ask(Command.GET_CLIENT_INFO_LIST))["entries"]] == [b"raw"]
    for command, values in (
        (Command.GET_SINK_INPUT_INFO, {}),
        (Command.SET_SINK_INPUT_MUTE, {"muted": True}),
        (Command.SET_SINK_INPUT_VOLUME, {"volume": bytes(8)}),
        (Command.MOVE_SINK_INPUT, {"device": NONE, "device_name": b"other"}),
    ):
        with pytest.raises(Refused):
            await client.ask(command, index=stream, **values)
    with pytest.raises(Refused):
        await client.raw(Command.KILL_SINK_INPUT, numbers(stream))
    seen = await host.ask(Command.GET_SINK_INPUT_INFO, index=stream)
    assert (seen["muted"], seen["volume"]) == (False, bytes((0, 1, 0, 0)) * 2)


async def test_a_container_plays_into_no_other_programs_stream(sound: Sound) -> None:
    """PipeWire takes any node as the target of a stream that is named."""
    host = await sound.host_client()
    await host.ask(Command.CREATE_RECORD_STREAM, **RECORD | {"properties": {b"node.name": b"victim\0"}})
    client = await sound.raw()
    for name in (b"victim", b"mic", b"raw"):
        with pytest.raises(Refused):
            await client.stream(device_name=name)
    assert (await client.stream(device_name=b"other"))["device_name"] == b"other"


async def test_events_about_other_programs_do_not_reach_the_container(sound: Sound) -> None:
    client = await sound.raw()
    await client.ask(Command.SUBSCRIBE, mask=0x02FF)
    host = await sound.host_client()
    foreign = (await host.stream())["index"]
    own = (await client.stream())["index"]
    await client.ask(Command.SET_SINK_INPUT_MUTE, index=own, muted=True)
    seen: set[tuple[int, int]] = set()
    while (2, own) not in seen:
        if not client.notifications:
            kind, _, reader = await client.message()
            client.notifications.append((kind, reader))
        kind, reader = client.notifications.pop(0)
        if kind == Command.SUBSCRIBE_EVENT:
            seen.add((reader.u32() & 0x0F, reader.u32()))
    assert {facility for facility, _ in seen} <= {0, 2, 7}
    assert (2, foreign) not in seen


async def test_what_names_the_host_and_its_user_stays_there(sound: Sound) -> None:
    client = await sound.raw()
    server = await client.ask(Command.GET_SERVER_INFO)
    assert (server["user"], server["host"], server["cookie"]) == (b"guestlink", b"demo", 0)
    everything = repr(
        [await client.ask(command) for command in (Command.GET_SINK_INFO_LIST, Command.GET_CLIENT_INFO_LIST)]
    )
    for secret in (socket.gethostname(), "application.process.user", "node.", "object.", str(sound.server.root)):
        assert secret not in everything, secret
    for command in (Command.GET_MODULE_INFO_LIST, Command.GET_CARD_INFO_LIST, Command.GET_SAMPLE_INFO_LIST):
        assert (await client.raw(command)).at_end


async def test_properties_that_servers_act_on_do_not_cross(sound: Sound) -> None:
    client = await sound.raw("player")
    keys = (
        "filter.want", "target.object", "node.target", "node.name", "stream.capture.sink", "media.class",
        "pipewire.access", "module-stream-restore.id", "media.role", "object.linger",
    )  # fmt: skip
    properties = {key.encode(): b"evil\0" for key in keys}
    properties |= {b"media.name": b"song\x07\0", b"application.process.binary": b"player\0"}
    stream = await client.stream(properties=properties)
    await client.ask(
        Command.UPDATE_PLAYBACK_STREAM_PROPLIST, channel=stream["channel"], mode=2, properties=properties
    )
    await client.ask(Command.UPDATE_CLIENT_PROPLIST, mode=2, properties=properties)
    listed = await asyncio.to_thread(sound.server.pactl, "list", "sink-inputs")
    clients = await asyncio.to_thread(sound.server.pactl, "list", "clients")
    assert "evil" not in listed + clients
    assert 'media.name = "song"' in listed
    assert 'guestlink.container = "demo"' in listed


async def test_a_container_shares_no_remembered_volume_with_the_hosts_programs(sound: Sound) -> None:
    client = await sound.raw("Firefox")
    await client.stream()
    listed = await asyncio.to_thread(sound.server.pactl, "list", "sink-inputs")
    assert 'application.id = "guestlink/demo/Firefox"' in listed
    if sound.server.kind == "pulseaudio":  # PipeWire's session manager goes by application.id
        assert 'module-stream-restore.id = "sink-input-by-container:guestlink/demo/Firefox"' in listed


# -- the microphone ----------------------------------------------------------------------------------------------


async def test_a_container_does_not_record_until_its_policy_allows_it(sound: Sound) -> None:
    words = ("parec", "--raw", "--format=s16le", f"--rate={RATE}", "--channels=2", "--latency-msec=20")
    done = await sound.run(*words)
    assert "Access denied" in done.stderr
    assert done.stdout == ""
    client = await sound.raw()
    assert (await client.ask(Command.GET_SOURCE_INFO_LIST))["entries"] == []
    assert (await client.ask(Command.GET_SERVER_INFO))["default_source"] == b"@DEFAULT_SOURCE@"
    await sound.policy(microphone="allow")
    assert b"mic" in {entry["name"] for entry in (await client.ask(Command.GET_SOURCE_INFO_LIST))["entries"]}
    await client.ask(Command.CREATE_RECORD_STREAM, **RECORD)
    assert len(await client.block()) > 0


@pytest.mark.parametrize("value", ["deny", "ask"])
async def test_a_recording_ends_when_its_policy_does(sound: Sound, value: str) -> None:
    await sound.policy(microphone="allow")
    client = await sound.raw()
    await client.ask(Command.CREATE_RECORD_STREAM, **RECORD)
    await client.block()
    await sound.policy(microphone=value)
    while not any(kind == Command.RECORD_STREAM_KILLED for kind, _ in client.notifications):
        kind, _, reader = await client.message()
        client.notifications.append((kind, reader))
    await sound.host.until(lambda: _is_quiet(sound.server))
    with pytest.raises(Refused):
        await client.ask(Command.CREATE_RECORD_STREAM, **RECORD)


async def test_a_container_never_records_what_the_host_plays(sound: Sound) -> None:
    await sound.policy(microphone="allow")
    host = await sound.host_client()
    playing = (await host.stream())["index"]
    monitor = await host.ask(Command.GET_SOURCE_INFO, index=NONE, name=b"speakers.monitor")
    sink = await host.ask(Command.GET_SINK_INFO, index=NONE, name=b"speakers")
    client = await sound.raw()
    assert {entry["name"] for entry in (await client.ask(Command.GET_SOURCE_INFO_LIST))["entries"]} == {b"mic"}
    for change in (
        {"device_name": b"speakers.monitor"},
        {"device_name": b"@DEFAULT_MONITOR@"},
        {"device": monitor["index"]},
        {"device": sink["monitor"]},
        {"direct_on_input": playing},
    ):
        with pytest.raises(Refused):
            await client.ask(Command.CREATE_RECORD_STREAM, **RECORD | change)
    for key in (b"stream.capture.sink", b"target.object", b"node.target"):
        properties = {key: b"true\0" if key == b"stream.capture.sink" else b"speakers\0"}
        stream = await client.ask(Command.CREATE_RECORD_STREAM, **RECORD | {"properties": properties})
        assert stream["device_name"] == b"mic"


@pytest.mark.parametrize(("dialog", "allowed"), [("true", True), ("false", False)])
async def test_the_user_is_asked_once_for_a_recording(
    sound: Sound, monkeypatch: pytest.MonkeyPatch, dialog: str, allowed: bool
) -> None:
    asked = sound.host.root / "asked"
    program = sound.host.root / "zenity"
    program.write_text(f"#!/bin/sh\necho asked >> {asked}\nexec {dialog}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sound.host.root}:{os.environ['PATH']}")
    await sound.policy(microphone="ask")
    clients = [await sound.raw(), await sound.raw()]
    outcomes = await asyncio.gather(
        *(client.ask(Command.CREATE_RECORD_STREAM, **RECORD) for client in clients), return_exceptions=True
    )
    assert [not isinstance(outcome, Refused) for outcome in outcomes] == [allowed, allowed]
    assert asked.read_text() == "asked\n"


# -- policies ----------------------------------------------------------------------------------------------------


async def test_a_container_without_sound_hears_which_key_it_lacks(sound: Sound) -> None:
    client = await sound.raw()
    await sound.policy(sound="deny")
    assert await client.is_closed()
    done = await sound.run("pactl", "info")
    assert "Access denied" in done.stderr
    refused = await sound.host.events("refused")
    assert any("policy demo sound allow" in event for event in refused)
    assert (await sound.host.entry())["sound"]["way"] == "none"
    await sound.policy(sound="allow")
    assert (await sound.run("pactl", "info")).returncode == 0


async def test_pipewires_own_socket_is_not_carried(monkeypatch: pytest.MonkeyPatch, server: SoundServer) -> None:
    monkeypatch.setenv("PULSE_SERVER", server.address)
    async with host_in_test(monkeypatch, sound="pipewire") as host:
        await host.ask("add", name="demo")
        names = {path.name for path in (host.root / "run/guestlink-host/containers/demo").iterdir()}
        assert "pulse" in names
        assert not {"pipewire-0", "pulse-cookie"} & names
        assert "sound that cannot be guarded is not carried" in (await host.entry())["sound"]["why"]


async def test_sound_that_is_off_has_no_socket(monkeypatch: pytest.MonkeyPatch, server: SoundServer) -> None:
    monkeypatch.setenv("PULSE_SERVER", server.address)
    async with host_in_test(monkeypatch, sound="off") as host:
        await host.ask("add", name="demo")
        assert not (host.root / "run/guestlink-host/containers/demo/pulse").exists()


async def test_a_removed_container_has_no_connection_left(sound: Sound) -> None:
    client = await sound.raw()
    await sound.host.ask("remove", name="demo")
    assert await client.is_closed()


# -- bounds ------------------------------------------------------------------------------------------------------


async def test_connections_of_a_container_are_bounded(sound: Sound) -> None:
    for _ in range(CONNECTIONS):
        await sound.raw()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await RawPulse.connect(sound.socket)
    assert (await asyncio.to_thread(sound.server.pactl, "info")) != ""


async def test_containers_together_leave_the_server_room_and_each_keeps_a_few_connections(sound: Sound) -> None:
    clients = []
    try:
        for number in range(ALL_CONNECTIONS // CONNECTIONS + 1):
            path = Path((await sound.host.ask("add", name=f"greedy{number}"))["directory"], "pulse")
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while True:
                    clients.append(await RawPulse.connect(str(path)))
        assert len(clients) == ALL_CONNECTIONS
        for _ in range(GUARANTEED):
            await sound.raw()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await RawPulse.connect(sound.socket)
        assert await asyncio.to_thread(sound.server.pactl, "info")
    finally:
        for client in clients:
            await client.close()


async def test_streams_of_a_container_are_bounded(sound: Sound) -> None:
    clients = [await sound.raw(), await sound.raw()]
    made = [await clients[number % 2].stream() for number in range(STREAM_LIMIT)]
    with pytest.raises(Refused) as caught:
        await clients[0].stream()
    assert caught.value.args[0] == ErrorCode.TOOLARGE
    await clients[0].ask(Command.DELETE_PLAYBACK_STREAM, channel=made[0]["channel"])
    await clients[0].stream()
    await clients[1].close()
    await sound.host.until(lambda: len(sound.server.streams()) == STREAM_LIMIT // 2)
    for _ in range(STREAM_LIMIT // 2):
        await clients[0].stream()


async def test_a_client_that_floods_is_slowed_down_and_the_daemon_answers(sound: Sound) -> None:
    client = await sound.raw()
    flood = (HEADER.pack(10, NONE, 0, 0, 0) + numbers(Command.GET_SINK_INFO_LIST, 7)) * 20000

    def send() -> None:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as sock:
            sock.connect(sound.socket)
            sock.settimeout(1)
            sock.sendall(_greeting() + flood)  # and never reads

    sending = asyncio.create_task(asyncio.to_thread(send))
    other = await client.ask(Command.GET_SERVER_INFO)
    assert other["host"] == b"demo"
    for _ in range(5):
        async with asyncio.timeout(LIMIT):
            await sound.host.ask("list")
    await sending


def _greeting() -> bytes:
    body = numbers(Command.AUTH, 0, 35) + b"x\0\0\1\0" + bytes(256)
    return HEADER.pack(len(body), NONE, 0, 0, 0) + body


async def test_a_server_that_is_started_again_is_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with sound_server("pulseaudio") as server:
        monkeypatch.setenv("PULSE_SERVER", server.address)
        async with host_in_test(monkeypatch) as host:
            await host.ask("add", name="demo")
            path = str(host.root / "run/guestlink-host/containers/demo/pulse")
            client = await RawPulse.connect(path)
            await asyncio.to_thread(server.stop)
            assert await client.is_closed()
            await client.close()
            await asyncio.to_thread(server.start)
            again = await RawPulse.connect(path)
            await again.stream()
            await again.close()
