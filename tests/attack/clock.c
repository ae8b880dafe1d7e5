/* A wall clock that steps: the seconds in the file CLOCK_SHIFT names are added to it, read anew at each call. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static int (*real)(clockid_t, struct timespec *);

int clock_gettime(clockid_t clock, struct timespec *now) {
    if (!real) real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, now);
    if (status || clock != CLOCK_REALTIME) return status;
    const char *path = getenv("CLOCK_SHIFT");
    FILE *file = path ? fopen(path, "r") : NULL;
    double shift = 0;
    if (file) {
        if (fscanf(file, "%lf", &shift) != 1) shift = 0;
        fclose(file);
    }
    long long nanos = now->tv_sec * 1000000000LL + now->tv_nsec + (long long)(shift * 1e9);
    now->tv_sec = nanos / 1000000000LL;
    now->tv_nsec = nanos % 1000000000LL;
    return 0;
}
