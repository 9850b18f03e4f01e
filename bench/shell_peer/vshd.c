/* The least that a vshd can do, at C's speed: what bench/shell.py measures ours against, beside OpenSSH.
 *
 *   vshd SOCKET    serves each connection in a child of its own, as ChromeOS's does
 *
 * It reads argv, nopty and the size of the setup, runs the program on a terminal or on pipes, relays frames one at a
 * time as ChromeOS's does, and has no other duty: no users, no variables, no directory, no check of who connects.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <pwd.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT = 4096, DATA = 4000 };

static int take(int in, void *to, size_t size) {
    for (size_t got = 0; got < size;) {
        ssize_t count = read(in, (char *)to + got, size - got);
        if (count <= 0) return 0;
        got += count;
    }
    return 1;
}

static uint64_t varint(uint8_t **at) {
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        value |= (uint64_t)(**at & 127) << shift;
        if (*(*at)++ < 128) return value;
    }
}

static void say(int sock, int stream, const uint8_t *data, size_t size) {
    uint8_t frame[LIMIT + 4], body[16], *at = frame + 4;
    size_t inner = 0, left = size;
    body[inner++] = 8, body[inner++] = stream, body[inner++] = 0x12;
    for (; left > 127; left >>= 7) body[inner++] = left | 128;
    body[inner++] = left;
    *at++ = 0x0a;
    for (left = inner + size; left > 127; left >>= 7) *at++ = left | 128;
    *at++ = left;
    memcpy(at, body, inner), memcpy(at + inner, data, size);
    uint32_t length = at + inner + size - frame - 4;
    memcpy(frame, &length, 4);
    if (write(sock, frame, length + 4) < 0) exit(1);
}

static void serve(int sock) {
    uint8_t message[LIMIT + 1], data[DATA];
    char *argv[64] = {0};
    uint32_t length;
    int count = 0, nopty = 0, in, out = -1, err = -1;
    struct winsize size = {0};
    if (!take(sock, &length, 4) || length > LIMIT || !take(sock, message, length)) return;
    for (uint8_t *at = message; at < message + length;) {
        uint64_t key = varint(&at), value = varint(&at);
        if (key >> 3 == 5 && count < 63) argv[count++] = strndup((char *)at, value);
        if (key >> 3 == 6) size.ws_row = value;
        if (key >> 3 == 7) size.ws_col = value;
        if (key >> 3 == 8) nopty = value;
        if ((key & 7) == 2) at += value;
    }
    sigset_t child;
    sigemptyset(&child), sigaddset(&child, SIGCHLD), sigprocmask(SIG_BLOCK, &child, 0);
    int ends = signalfd(-1, &child, SFD_CLOEXEC);
    int pipes[3][2], slave = -1;
    if (nopty) {
        for (int number = 0; number < 3; number++)
            if (pipe2(pipes[number], O_CLOEXEC)) return;
        in = pipes[0][1], out = pipes[1][0], err = pipes[2][0];
    } else {
        if (openpty(&in, &slave, 0, 0, &size)) return;
        out = in;
    }
    pid_t pid = fork();
    if (pid == 0) {
        struct passwd *own = getpwuid(getuid());
        char name[256];
        for (int number = 0; number < 3; number++) dup2(nopty ? pipes[number][number > 0] : slave, number);
        setsid();
        if (!nopty) ioctl(0, TIOCSCTTY, 0);
        closefrom(3);
        sigprocmask(SIG_UNBLOCK, &child, 0);
        if (chdir(own->pw_dir)) _exit(1);
        setenv("HOME", own->pw_dir, 1), setenv("SHELL", own->pw_shell, 1), setenv("TERM", "linux", 0);
        snprintf(name, sizeof name, "-%s", strrchr(own->pw_shell, '/') + 1);
        if (count) execvp(argv[0], argv);
        execl(own->pw_shell, name, (char *)0);
        _exit(127);
    }
    if (nopty) close(pipes[0][0]), close(pipes[1][1]), close(pipes[2][1]);
    else close(slave);
    uint8_t ready[] = {4, 0, 0, 0, 8, 1, 0x18, 1};
    if (write(sock, ready, sizeof ready) < 0) return;
    for (;;) {
        struct pollfd polled[] = {{sock, POLLIN, 0}, {out, POLLIN, 0}, {err, POLLIN, 0}, {ends, POLLIN, 0}};
        if (poll(polled, 4, -1) < 0) return;
        if (polled[0].revents) {
            if (!take(sock, &length, 4) || length > LIMIT || !take(sock, message, length)) return;
            uint8_t *at = message + 1;
            varint(&at), at += 2;
            if (at >= message + length) {
                if (nopty) close(in);
                continue;
            }
            uint64_t bytes = (at++, varint(&at));
            if (write(in, at, bytes) < 0) return;
        }
        for (int number = 1; number < 3; number++) {
            if (!polled[number].revents) continue;
            ssize_t got = read(polled[number].fd, data, sizeof data);
            if (got > 0) say(sock, number + 1, data, got);
            else if (number == 1) out = -1;
            else err = -1;
        }
        if (polled[3].revents && out < 0 && err < 0) break;
        if (polled[3].revents && !nopty) break;
    }
    uint8_t exited[] = {4, 0, 0, 0, 0x12, 2, 8, 2};
    if (write(sock, exited, sizeof exited) < 0) return;
}

int main(int argc, char **argv) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (argc != 2) return 2;
    strncpy(name.sun_path, argv[1], sizeof name.sun_path - 1);
    if (bind(listener, (struct sockaddr *)&name, sizeof name) || listen(listener, 32)) return perror(argv[1]), 1;
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        int sock = accept4(listener, 0, 0, SOCK_CLOEXEC);
        if (fork() == 0) {
            signal(SIGCHLD, SIG_DFL), close(listener), serve(sock);
            _exit(0);
        }
        close(sock);
    }
}
