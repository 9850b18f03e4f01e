/* Puts the proxy between WLCS's clients and the display server that another integration module starts.
 *
 * GUESTLINK_WLCS_MODULE names that module, GUESTLINK_WLCS_PROXY the proxy's socket, and GUESTLINK_WLCS_HOST the socket
 * that the proxy connects to, which is ours: modules' servers hand out connected sockets and listen nowhere, so every
 * connection of the proxy is spliced to one of those.
 *
 * A module knows clients by the number of the descriptor that it handed out. The connection to the proxy gets that
 * number, so that the module positions the windows of the client behind the proxy.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
#include <wlcs/display_server.h>

#define CHUNK 65536
#define DESCRIPTORS 253
#define WAITING 64
#define LIMIT 60 /* seconds for anything */
#define PATIENCE 2 /* seconds for clients to leave that may be meant to stay */

struct server {
	WlcsDisplayServer base; /* WLCS sees this one; what is not ours calls through `real` */
	WlcsDisplayServer *real;
	int has_clients;
};

enum { PROXY, SERVER };

struct splice {
	int ends[2];
	int directions;
	struct splice *next;
};

struct direction {
	struct splice *splice;
	int from;
};

static WlcsServerIntegration const *module;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int waiting[WAITING], waiting_count; /* sockets of the server that the proxy's next connections get */
static struct splice *splices;
static int splice_count;

static void fail(const char *format, ...)
{
	va_list values;
	va_start(values, format);
	fprintf(stderr, "shim: ");
	vfprintf(stderr, format, values);
	fprintf(stderr, " (%s)\n", strerror(errno));
	_exit(99);
}

static const char *setting(const char *name)
{
	const char *value = getenv(name);
	if (!value)
		fail("%s is not set", name);
	return value;
}

static struct sockaddr_un address(const char *path)
{
	struct sockaddr_un found = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof found.sun_path)
		fail("%s is too long", path);
	strcpy(found.sun_path, path);
	return found;
}

/* Wait until `*count` is `most` at most. */
static int falls_to(const int *count, int most, int seconds)
{
	struct timespec end;
	clock_gettime(CLOCK_REALTIME, &end);
	end.tv_sec += seconds;
	pthread_mutex_lock(&lock);
	while (*count > most && pthread_cond_timedwait(&changed, &lock, &end) == 0)
		;
	int has_fallen = *count <= most;
	pthread_mutex_unlock(&lock);
	return has_fallen;
}

/* -- splicing --------------------------------------------------------------------------------------------------- */

static int forward(int from, int to)
{
	static __thread char data[CHUNK];
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
	} control;
	struct iovec part = {data, sizeof data};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control};
	message.msg_controllen = sizeof control;
	ssize_t count = recvmsg(from, &message, MSG_CMSG_CLOEXEC);
	if (count <= 0)
		return 0;
	part.iov_len = count;
	ssize_t sent = sendmsg(to, &message, MSG_NOSIGNAL);
	for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header))
		for (size_t at = CMSG_LEN(0); at < header->cmsg_len; at += sizeof(int)) {
			int descriptor;
			memcpy(&descriptor, (char *)header + at, sizeof descriptor);
			close(descriptor);
		}
	while (sent >= 0 && sent < count) {
		ssize_t more = send(to, data + sent, count - sent, MSG_NOSIGNAL);
		sent = more < 0 ? -1 : sent + more;
	}
	return sent == count;
}

static void *forward_all(void *argument)
{
	struct direction *direction = argument;
	struct splice *splice = direction->splice;
	int from = splice->ends[direction->from], to = splice->ends[!direction->from];
	while (forward(from, to))
		;
	/* The proxy closes what its host has left: what is here is gone when the proxy knows. */
	shutdown(to, direction->from == PROXY ? SHUT_RDWR : SHUT_WR);
	pthread_mutex_lock(&lock);
	if (--splice->directions == 0) {
		struct splice **place = &splices;
		while (*place != splice)
			place = &(*place)->next;
		*place = splice->next;
		close(from);
		close(to);
		free(splice);
		splice_count--;
		pthread_cond_broadcast(&changed);
	}
	pthread_mutex_unlock(&lock);
	free(direction);
	return NULL;
}

static void start_thread(void *(*run)(void *), void *argument)
{
	pthread_t thread;
	if (pthread_create(&thread, NULL, run, argument) != 0)
		fail("no thread");
	pthread_detach(thread);
}

/* Give each connection of the proxy the server's socket that has waited longest. */
static void *accept_all(void *argument)
{
	int listener = *(int *)argument;
	for (;;) {
		int proxy = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (proxy < 0)
			fail("accept");
		struct splice *splice = malloc(sizeof *splice);
		pthread_mutex_lock(&lock);
		if (waiting_count == 0)
			fail("the proxy made a connection too many");
		*splice = (struct splice){{proxy, waiting[0]}, 2, splices};
		memmove(waiting, waiting + 1, --waiting_count * sizeof *waiting);
		splices = splice;
		splice_count++;
		pthread_cond_broadcast(&changed);
		pthread_mutex_unlock(&lock);
		for (int from = PROXY; from <= SERVER; from++) {
			struct direction *direction = malloc(sizeof *direction);
			*direction = (struct direction){splice, from};
			start_thread(forward_all, direction);
		}
	}
	return NULL;
}

/* -- the server ------------------------------------------------------------------------------------------------- */

static WlcsDisplayServer *real(const WlcsDisplayServer *server) { return ((const struct server *)server)->real; }

static int server_socket(WlcsDisplayServer *server)
{
	int handed_out = real(server)->create_client_socket(real(server));
	int mine = fcntl(handed_out, F_DUPFD_CLOEXEC, 0);
	if (mine < 0)
		fail("the module hands out no socket");
	pthread_mutex_lock(&lock);
	if (waiting_count == WAITING)
		fail("the proxy connects to nothing");
	waiting[waiting_count++] = mine;
	pthread_mutex_unlock(&lock);
	return handed_out;
}

static int create_client_socket(WlcsDisplayServer *server)
{
	struct server *mine = (struct server *)server;
	if (!mine->has_clients) {
		/* The proxy's first connection to a server is its own, see host_link.py. */
		close(server_socket(server));
		mine->has_clients = 1;
	}
	int handed_out = server_socket(server);
	int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un proxy = address(setting("GUESTLINK_WLCS_PROXY"));
	if (client < 0 || connect(client, (struct sockaddr *)&proxy, sizeof proxy) < 0)
		fail("cannot reach the proxy");
	if (dup3(client, handed_out, O_CLOEXEC) < 0)
		fail("dup3");
	close(client);
	/* Positions are asked for by what the module knows of the client: its connection must be there. */
	if (!falls_to(&waiting_count, 0, LIMIT))
		fail("the proxy does not connect");
	return handed_out;
}

static void start(WlcsDisplayServer *server) { real(server)->start(real(server)); }

static void start_on_this_thread(WlcsDisplayServer *server, wl_event_loop *loop)
{
	real(server)->start_on_this_thread(real(server), loop);
}

static void stop(WlcsDisplayServer *server)
{
	/* The server hears of the end of a test's clients before its own end, as it does without a proxy: Mir 2.12 may
	 * crash otherwise. What is left is the proxy's own connection, or a client that the test keeps. */
	falls_to(&splice_count, 1, PATIENCE);
	real(server)->stop(real(server));
}

static void position(WlcsDisplayServer *server, wl_display *client, wl_surface *surface, int x, int y)
{
	real(server)->position_window_absolute(real(server), client, surface, x, y);
}

static WlcsPointer *create_pointer(WlcsDisplayServer *server) { return real(server)->create_pointer(real(server)); }

static WlcsTouch *create_touch(WlcsDisplayServer *server) { return real(server)->create_touch(real(server)); }

static WlcsIntegrationDescriptor const *descriptor(WlcsDisplayServer const *server)
{
	return real(server)->get_descriptor(real(server));
}

static void begin(void)
{
	static int listener;
	void *library = dlopen(setting("GUESTLINK_WLCS_MODULE"), RTLD_NOW | RTLD_LOCAL);
	module = library ? dlsym(library, "wlcs_server_integration") : NULL;
	if (!module)
		fail("%s", dlerror());
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un host = address(setting("GUESTLINK_WLCS_HOST"));
	if (bind(listener, (struct sockaddr *)&host, sizeof host) < 0 || listen(listener, WAITING) < 0)
		fail("cannot listen on %s", host.sun_path);
	start_thread(accept_all, &listener);
}

static WlcsDisplayServer *create_server(int argc, char const **argv)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, begin);
	struct server *server = calloc(1, sizeof *server);
	server->real = module->create_server(argc, argv);
	server->base = *server->real;
	server->base.start = server->real->start ? start : NULL;
	server->base.stop = stop;
	server->base.create_client_socket = create_client_socket;
	server->base.position_window_absolute = position;
	server->base.create_pointer = create_pointer;
	server->base.create_touch = create_touch;
	if (server->real->version >= 2)
		server->base.get_descriptor = descriptor;
	if (server->real->version >= 3)
		server->base.start_on_this_thread = server->real->start_on_this_thread ? start_on_this_thread : NULL;
	return &server->base;
}

static void destroy_server(WlcsDisplayServer *server)
{
	module->destroy_server(real(server));
	/* The proxy forgets this host before the next one is there: its first connection to that is its own again.
	 * Mir 2.12 leaves the sockets of its clients open. */
	pthread_mutex_lock(&lock);
	for (struct splice *splice = splices; splice; splice = splice->next)
		shutdown(splice->ends[SERVER], SHUT_RDWR);
	pthread_mutex_unlock(&lock);
	if (!falls_to(&splice_count, 0, LIMIT))
		fail("the proxy does not let go of a server that has ended");
	free(server);
}

__attribute__((visibility("default"))) WlcsServerIntegration const wlcs_server_integration = {
	.version = 1,
	.create_server = create_server,
	.destroy_server = destroy_server,
};
