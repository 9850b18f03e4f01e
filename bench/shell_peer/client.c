/* The other ends of bench/shell.py at C's speed: a vsh client, and a person in front of any other client.
 *
 *   client exit|first|down ADDRESS HEX COUNT   whole sessions; the time of each to its end, its first output
 *   client up ADDRESS HEX BYTES                one session that is given zeros
 *   client echo ADDRESS HEX COUNT              one session; the time of each byte to the target and back
 *   client run|await COUNT PROGRAM...          whole runs of a program; the time of each to its end, its first output
 *   client talk COUNT PROGRAM...               one run; the time of each byte to the target and back
 *
 * A TCP connection begins with a handshake; $TOKEN is its token. HEX is what is sent next. A target that echoes says one byte of its own when it is ready. Times are lines, in
 * microseconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "handshake.h"

enum { FRAME = 4000, FRAMES = 64 };
static uint8_t buffer[1 << 20];

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int dial(const char *address) {
    int sock, one = 1;
    if (strncmp(address, "unix:", 5) == 0) {
        struct sockaddr_un name = {.sun_family = AF_UNIX};
        strncpy(name.sun_path, address + 5, sizeof name.sun_path - 1);
        sock = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(sock, (struct sockaddr *)&name, sizeof name)) fail(address);
    } else {
        struct sockaddr_in name = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
        name.sin_port = htons(atoi(strrchr(address, ':') + 1));
        sock = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(sock, (struct sockaddr *)&name, sizeof name)) fail(address);
        setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
    return sock;
}

static void put(int out, const void *data, size_t size) {
    while (size) {
        ssize_t count = write(out, data, size);
        if (count < 0) fail("write");
        data = (const char *)data + count;
        size -= count;
    }
}

static int take(int in, size_t size) {
    size_t got = 0;
    while (got < size) {
        ssize_t count = read(in, buffer + got, size - got);
        if (count < 0 && errno != ECONNRESET && errno != EIO) fail("read");
        if (count <= 0) return 0;
        got += count;
    }
    return 1;
}

static void drain(int in) {
    ssize_t count;
    do
        count = read(in, buffer, sizeof buffer);
    while (count > 0);
}

static void frame(int sock) {
    uint32_t size;
    if (!take(sock, 4)) exit((fprintf(stderr, "client: the session ended\n"), 1));
    memcpy(&size, buffer, 4);
    take(sock, size);
}

static void give(int sock, long bytes) {
    static const uint8_t header[] = {0xa8, 0x0f, 0, 0, 0x0a, 0xa5, 0x1f, 8, 1, 0x12, 0xa0, 0x1f}, end[] = {4, 0, 0, 0, 0x0a, 2, 8, 1};
    static uint8_t block[FRAMES][sizeof header + FRAME];
    for (int number = 0; number < FRAMES; number++) memcpy(block[number], header, sizeof header);
    for (; bytes > 0; bytes -= FRAMES * FRAME) put(sock, block, sizeof block);
    put(sock, end, sizeof end);
}

/* What is said and heard ends with the byte; it is another one each time, so that nothing older passes for it. */
static void echo(int in, int out, long count, uint8_t *said, size_t size) {
    while (count--) {
        said[size - 1] = 'a' + count % 26;
        double start = now();
        put(out, said, size);
        if (!take(in, size) || buffer[size - 1] != said[size - 1]) exit((fprintf(stderr, "client: no echo\n"), 1));
        printf("%.2f\n", now() - start);
    }
}

static pid_t start(char **argv, int *in, int *out, int talks) {
    int to[2], from[2];
    if (pipe(to) || pipe(from)) fail("pipe");
    pid_t pid = vfork();
    if (pid == 0) {
        dup2(to[0], 0);
        dup2(from[1], 1);
        close(to[0]), close(to[1]), close(from[0]), close(from[1]);
        execvp(argv[0], argv);
        _exit(127);
    }
    close(to[0]), close(from[1]);
    if (!talks) close(to[1]);
    *in = from[0], *out = to[1];
    return pid;
}

static void runs(char **argv, long count, int awaits) {
    while (count--) {
        int in, out;
        double begun = now();
        pid_t pid = start(argv, &in, &out, awaits);
        if (awaits) {
            take(in, 1);
            printf("%.2f\n", now() - begun);
            kill(pid, SIGTERM);
            close(out);
        }
        drain(in);
        close(in);
        waitpid(pid, 0, 0);
        if (!awaits) printf("%.2f\n", now() - begun);
    }
}

int main(int argc, char **argv) {
    static uint8_t byte[] = {7, 0, 0, 0, 0x0a, 5, 8, 1, 0x12, 1, 'x'};
    static uint8_t first[8192];
    size_t size = 0;
    signal(SIGPIPE, SIG_IGN);
    if (argc < 4) return 2;
    char *mode = argv[1];
    if (!strcmp(mode, "run") || !strcmp(mode, "await")) return runs(argv + 3, atol(argv[2]), mode[0] == 'a'), 0;
    if (!strcmp(mode, "talk")) {
        int in, out;
        pid_t pid = start(argv + 3, &in, &out, 1);
        take(in, 1);
        echo(in, out, atol(argv[2]), byte, 1);
        kill(pid, SIGTERM);
        return waitpid(pid, 0, 0) < 0;
    }
    if (argc < 5) return 2;
    for (char *digits = argv[3]; sscanf(digits, "%2hhx", first + size) == 1; digits += 2) size++;
    long count = atol(argv[4]);
    int many = !strcmp(mode, "exit") || !strcmp(mode, "first") || !strcmp(mode, "down");
    for (long round = 0; round < (many ? count : 1); round++) {
        double begun = now();
        int sock = dial(argv[2]);
        if (strncmp(argv[2], "tcp:", 4) == 0) {
            uint8_t response[128];
            if (!take(sock, HEADER + NONCE)) exit((fprintf(stderr, "client: no challenge\n"), 1));
            put(sock, response, respond(getenv("TOKEN"), buffer, (uint64_t)(begun * 1e3), response));
            if (!take(sock, PROOF)) exit((fprintf(stderr, "client: refused\n"), 1));
        }
        put(sock, first, size);
        if (!strcmp(mode, "echo")) {
            frame(sock), frame(sock);
            echo(sock, sock, count, byte, sizeof byte);
        } else if (!strcmp(mode, "first")) {
            frame(sock), frame(sock);
            printf("%.2f\n", now() - begun);
        } else {
            if (!strcmp(mode, "up")) give(sock, count);
            drain(sock);
            printf("%.2f\n", now() - begun);
        }
        close(sock);
    }
    return 0;
}
