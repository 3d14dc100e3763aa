/* Makes one I/O call on a bank's files fail (or all from one on), for the test that fails each in turn.
   Preloaded into a process, which plans each fault itself. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static long calls, fail_at, fired;
static int sticky, error_number;

/* at: which call fails, counted from 1; 0 only counts. */
void fault_plan(long at, int all_from_there, int error) {
    calls = fired = 0;
    fail_at = at;
    sticky = all_from_there;
    error_number = error;
}

long fault_calls(void) { return calls; }
long fault_fired(void) { return fired; }

static int fails(int file) {
    char link[64], path[512];
    if (!error_number) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (!strstr(path, "bank.db")) return 0;
    calls++;
    if (!fail_at || calls < fail_at || (calls > fail_at && !sticky)) return 0;
    fired++;
    errno = error_number;
    return 1;
}

#define FAILING(type, name, parameters, arguments)                      \
    type name parameters {                                              \
        static type(*real) parameters;                                  \
        if (!real) real = (type(*) parameters)dlsym(RTLD_NEXT, #name);  \
        return fails(file) ? -1 : real arguments;                       \
    }

FAILING(ssize_t, read, (int file, void *to, size_t size), (file, to, size))
FAILING(ssize_t, pread, (int file, void *to, size_t size, off_t at), (file, to, size, at))
FAILING(ssize_t, pread64, (int file, void *to, size_t size, off64_t at), (file, to, size, at))
FAILING(ssize_t, pwrite, (int file, const void *from, size_t size, off_t at), (file, from, size, at))
FAILING(ssize_t, pwrite64, (int file, const void *from, size_t size, off64_t at), (file, from, size, at))
FAILING(int, fsync, (int file), (file))
FAILING(int, fdatasync, (int file), (file))
FAILING(int, ftruncate, (int file, off_t size), (file, size))
FAILING(int, ftruncate64, (int file, off64_t size), (file, size))
