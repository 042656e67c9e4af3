// How long one use of a file takes, for two files, and how the medians compare.
//
//   latency read FILE OTHER        open, read to a buffer of 64 KiB, close
//   latency write FILE OTHER LINE  open for writing with truncation, write LINE and a newline, close
//
// The two files take turns in short rounds, so that a drift of the host meets both. Prints one line, and ends with status 0; 1
// where a system call fails.
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 50
#define USES_A_ROUND 200
#define WARM_ROUNDS 3

static char buffer[64 << 10];

static long nanoseconds(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec * 1000000000L + time.tv_nsec;
}

static void must(int good, const char *what, const char *path)
{
	if (good)
		return;
	fprintf(stderr, "latency: %s: %s: %m\n", path, what);
	exit(1);
}

// One use of the file: reads it where `line` is NULL, else writes the line.
static long use(const char *path, const char *line)
{
	long start = nanoseconds();
	int file = open(path, line == NULL ? O_RDONLY : O_WRONLY | O_TRUNC);
	must(file >= 0, "open", path);
	if (line == NULL)
		must(read(file, buffer, sizeof buffer) > 0, "read", path);
	else
		must(write(file, line, strlen(line)) == (ssize_t)strlen(line), "write", path);
	must(close(file) == 0, "close", path);
	return nanoseconds() - start;
}

static int ascending(const void *left, const void *right)
{
	long a = *(const long *)left, b = *(const long *)right;
	return (a > b) - (a < b);
}

int main(int argc, char **argv)
{
	int writes = argc == 5 && strcmp(argv[1], "write") == 0;
	if (!writes && !(argc == 4 && strcmp(argv[1], "read") == 0)) {
		fprintf(stderr, "usage: latency read FILE OTHER | latency write FILE OTHER LINE\n");
		return 64;
	}
	char line[4096];
	if (writes)
		snprintf(line, sizeof line, "%s\n", argv[4]);

	static long times[2][ROUNDS * USES_A_ROUND];
	for (int round = -WARM_ROUNDS; round < ROUNDS; round++)
		for (int file = 0; file < 2; file++)
			for (int i = 0; i < USES_A_ROUND; i++) {
				long time = use(argv[2 + file], writes ? line : NULL);
				if (round >= 0)
					times[file][round * USES_A_ROUND + i] = time;
			}
	double median[2];
	for (int file = 0; file < 2; file++) {
		qsort(times[file], ROUNDS * USES_A_ROUND, sizeof times[file][0], ascending);
		median[file] = times[file][ROUNDS * USES_A_ROUND / 2] / 1e3;
	}
	printf("open+%s+close: median %.2f us, floor %.2f us, ratio %.2f\n", argv[1], median[0], median[1],
	       median[0] / median[1]);
	return 0;
}
