"""Sound of containers: a filter between a container and the session's PulseAudio server.

``tagstruct``, ``frames``, ``commands``, ``layouts``, ``properties``, ``belongings`` and ``conversation`` know the
protocol and do no I/O; ``session_server``, ``relay`` and ``sound_border`` connect them to sockets.
"""
