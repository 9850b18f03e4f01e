/* A client that measures; it is never the slow end, and waits by itself when the socket is full.
 *
 * usage: client TEST SECONDS [WIDTH HEIGHT DAMAGED]    (WAYLAND_DISPLAY says where)
 *
 * It prints "ready", waits for a line, runs the test, prints its figures as a line of JSON, and waits for another
 * line, so that the caller can look at what is in between while nothing has ended yet.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <wayland-client.h>

#define BATCH_BYTES 3000 /* libwayland's own buffer holds 4096 */
#define SAMPLES 4000000
#define UNANSWERED 2000

extern char **environ;

static struct wl_display *display;
static struct wl_compositor *compositor;
static struct wl_shm *shm;
static uint64_t answered, globals;
static double seconds;

static void fail(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	_exit(1);
}

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec / 1e9;
}

static void announced(void *data, struct wl_registry *registry, uint32_t name, const char *interface,
		      uint32_t version)
{
	globals++;
	if (!data)
		return;
	if (!strcmp(interface, "wl_compositor"))
		compositor = wl_registry_bind(registry, name, &wl_compositor_interface, version < 4 ? version : 4);
	else if (!strcmp(interface, "wl_shm"))
		shm = wl_registry_bind(registry, name, &wl_shm_interface, 1);
}

static void withdrawn(void *data, struct wl_registry *registry, uint32_t name) {}

static const struct wl_registry_listener registry_events = {announced, withdrawn};

static void done(void *data, struct wl_callback *callback, uint32_t value)
{
	wl_callback_destroy(callback);
	answered++;
}

static const struct wl_callback_listener callback_events = {done};

/* Send everything and read what there is; with `wait`, wait until there is something to read. */
static void exchange(int wait)
{
	struct pollfd fd = {.fd = wl_display_get_fd(display)};
	int full, readable;
	do {
		while (wl_display_prepare_read(display) != 0)
			if (wl_display_dispatch_pending(display) < 0)
				fail("dispatch");
		full = wl_display_flush(display) < 0;
		if (full && errno != EAGAIN)
			fail("flush");
		fd.events = POLLIN | (full ? POLLOUT : 0);
		if (poll(&fd, 1, full || wait ? -1 : 0) < 0 && errno != EINTR)
			fail("poll");
		readable = fd.revents & ~POLLOUT;
		if (!readable)
			wl_display_cancel_read(display);
		else if (wl_display_read_events(display) < 0)
			fail("read");
		if (wl_display_dispatch_pending(display) < 0)
			fail("dispatch");
	} while (full || (wait && !readable));
}

static void finish(void)
{
	uint64_t before = answered;
	wl_callback_add_listener(wl_display_sync(display), &callback_events, NULL);
	exchange(0);
	while (answered == before)
		exchange(1);
}

static int by_value(const void *left, const void *right)
{
	float a = *(const float *)left, b = *(const float *)right;
	return (a > b) - (a < b);
}

static void print_samples(float *samples, unsigned count)
{
	qsort(samples, count, sizeof *samples, by_value);
	printf("{\"count\": %u, \"p50\": %.3f, \"p99\": %.3f}\n", count, samples[count / 2],
	       samples[(unsigned)(count * 0.99)]);
}

static void print_rate(double count, double start)
{
	printf("{\"count\": %.0f, \"seconds\": %.6f}\n", count, now() - start);
}

static void round_trips(void)
{
	static float samples[SAMPLES];
	unsigned count = 0;
	double start = now(), last = start;
	while (last - start < seconds && count < SAMPLES) {
		if (wl_display_roundtrip(display) < 0)
			fail("round trip");
		double time = now();
		samples[count++] = (time - last) * 1e6;
		last = time;
	}
	print_samples(samples, count);
}

static void damage(void)
{
	struct wl_surface *surface = wl_compositor_create_surface(compositor);
	double start = now(), count = 0;
	while (now() - start < seconds) {
		for (int i = 0; i < BATCH_BYTES / 24; i++, count++)
			wl_surface_damage(surface, i, i, 10, 10);
		exchange(0);
	}
	finish();
	print_rate(count, start);
}

static void regions(void)
{
	double start = now(), count = 0;
	while (now() - start < seconds) {
		for (int i = 0; i < BATCH_BYTES / 44; i++, count += 3) {
			struct wl_region *region = wl_compositor_create_region(compositor);
			wl_region_add(region, 0, 0, 10, 10);
			wl_region_destroy(region);
		}
		exchange(0);
	}
	finish();
	print_rate(count, start);
}

static void syncs(void)
{
	double start = now();
	uint64_t asked = 0;
	answered = 0;
	while (now() - start < seconds) {
		for (int i = 0; i < BATCH_BYTES / 12; i++, asked++)
			wl_callback_add_listener(wl_display_sync(display), &callback_events, NULL);
		exchange(0);
		while (asked - answered > UNANSWERED)
			exchange(1);
	}
	finish();
	print_rate(asked, start);
}

static int memory(size_t size)
{
	int descriptor = memfd_create("bench", MFD_CLOEXEC);
	if (descriptor < 0 || ftruncate(descriptor, size) < 0)
		fail("memory");
	return descriptor;
}

static void pools(void)
{
	int descriptor = memory(4096);
	double start = now(), count = 0;
	while (now() - start < seconds) {
		for (int i = 0; i < 20; i++, count++)
			wl_shm_pool_destroy(wl_shm_create_pool(shm, descriptor, 4096));
		exchange(0);
	}
	finish();
	print_rate(count, start);
}

static void released(void *data, struct wl_buffer *buffer) { *(int *)data = 1; }

static const struct wl_buffer_listener buffer_events = {released};

static void frames(int width, int height, int damaged, double rate)
{
	size_t size = (size_t)width * height * 4;
	int descriptor = memory(size * 2), is_free[2] = {1, 1};
	unsigned char *pixels = mmap(NULL, size * 2, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
	if (pixels == MAP_FAILED)
		fail("memory");
	memset(pixels, 1, size * 2);
	struct wl_surface *surface = wl_compositor_create_surface(compositor);
	struct wl_shm_pool *pool = wl_shm_create_pool(shm, descriptor, size * 2);
	struct wl_buffer *buffers[2];
	for (int i = 0; i < 2; i++) {
		buffers[i] = wl_shm_pool_create_buffer(pool, i * size, width, height, width * 4,
						       WL_SHM_FORMAT_XRGB8888);
		wl_buffer_add_listener(buffers[i], &buffer_events, &is_free[i]);
	}
	finish();
	double start = now(), count = 0;
	while (now() - start < seconds) {
		int i = (int)((uint64_t)count % 2);
		while (!is_free[i])
			exchange(1);
		unsigned char *buffer = pixels + i * size;
		if (damaged)
			for (int row = 0; row < damaged; row++)
				memset(buffer + (size_t)row * width * 4, (int)count, damaged * 4);
		else
			memset(buffer, (int)count, size);
		is_free[i] = 0;
		uint64_t before = answered;
		wl_surface_attach(surface, buffers[i], 0, 0);
		wl_surface_damage_buffer(surface, 0, 0, damaged ? damaged : width, damaged ? damaged : height);
		wl_callback_add_listener(wl_surface_frame(surface), &callback_events, NULL);
		wl_surface_commit(surface);
		exchange(0);
		while (answered == before)
			exchange(1);
		count++;
		if (rate > 0) {
			double left = start + count / rate - now();
			if (left > 0)
				usleep(left * 1e6);
		}
	}
	print_rate(count, start);
}

static void once(void)
{
	struct wl_display *one = wl_display_connect(NULL);
	if (!one)
		fail("connect");
	wl_registry_add_listener(wl_display_get_registry(one), &registry_events, NULL);
	if (wl_display_roundtrip(one) < 0 || !globals)
		fail("registry");
	wl_display_disconnect(one);
}

static void connections(void)
{
	static float samples[SAMPLES];
	unsigned count = 0;
	double start = now(), last = start;
	while (last - start < seconds && count < SAMPLES) {
		once();
		double time = now();
		samples[count++] = (time - last) * 1e6;
		last = time;
	}
	print_samples(samples, count);
}

static void spawns(char *program)
{
	static float samples[SAMPLES];
	unsigned count = 0;
	double start = now(), last = start;
	while (last - start < seconds && count < SAMPLES) {
		char *words[] = {program, "once", "0", NULL};
		pid_t pid;
		int status;
		if (posix_spawn(&pid, program, NULL, NULL, words, environ) != 0 || waitpid(pid, &status, 0) != pid ||
		    status != 0)
			fail("spawn");
		double time = now();
		samples[count++] = (time - last) * 1e6;
		last = time;
	}
	print_samples(samples, count);
}

/* Hold that many connections, each with a surface and a buffer, as an idle program has. */
static void hold(int count)
{
	struct wl_display **displays = calloc(count, sizeof *displays);
	for (int i = 0; i < count; i++) {
		display = displays[i] = wl_display_connect(NULL);
		if (!display)
			fail("connect");
		wl_registry_add_listener(wl_display_get_registry(display), &registry_events, &globals);
		if (wl_display_roundtrip(display) < 0)
			fail("registry");
		int descriptor = memory(4096);
		struct wl_surface *surface = wl_compositor_create_surface(compositor);
		struct wl_shm_pool *pool = wl_shm_create_pool(shm, descriptor, 4096);
		wl_surface_attach(surface, wl_shm_pool_create_buffer(pool, 0, 16, 16, 64, 1), 0, 0);
		wl_surface_commit(surface);
		if (wl_display_roundtrip(display) < 0)
			fail("commit");
		close(descriptor);
	}
	printf("{\"count\": %d}\n", count);
}

static void wait_for_line(void)
{
	int letter;
	fflush(stdout);
	while ((letter = getchar()) != '\n')
		if (letter == EOF)
			exit(1);
}

int main(int argc, char **argv)
{
	const char *test = argc > 2 ? argv[1] : "";
	if (!strcmp(test, "once")) {
		once();
		return 0;
	}
	seconds = argc > 2 ? atof(argv[2]) : 0;
	int connects = !strcmp(test, "connections") || !strcmp(test, "spawns") || !strcmp(test, "hold");
	if (!connects) {
		display = wl_display_connect(NULL);
		if (!display)
			fail("connect");
		wl_registry_add_listener(wl_display_get_registry(display), &registry_events, &globals);
		if (wl_display_roundtrip(display) < 0 || !compositor || !shm)
			fail("registry");
	}
	puts("ready");
	wait_for_line();
	if (!strcmp(test, "round_trips"))
		round_trips();
	else if (!strcmp(test, "damage"))
		damage();
	else if (!strcmp(test, "regions"))
		regions();
	else if (!strcmp(test, "syncs"))
		syncs();
	else if (!strcmp(test, "pools"))
		pools();
	else if (!strcmp(test, "connections"))
		connections();
	else if (!strcmp(test, "spawns"))
		spawns(argv[0]);
	else if (!strcmp(test, "frames") && argc == 6)
		frames(atoi(argv[3]), atoi(argv[4]), atoi(argv[5]), 0);
	else if (!strcmp(test, "paced") && argc == 6)
		frames(atoi(argv[3]), atoi(argv[4]), atoi(argv[5]), 60);
	else if (!strcmp(test, "hold") && argc == 4)
		hold(atoi(argv[3]));
	else
		return 2;
	wait_for_line();
	return 0;
}
