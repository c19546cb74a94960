/* Lets one write or sync below a directory fail: for drills with a disk that is full or broken.
 *
 * LD_PRELOAD it with ONEFOLD_FAULT_BASE (the directory, absolute), ONEFOLD_FAULT_AT (which one fails, counted from 1; 0 is
 * none), ONEFOLD_FAULT_KIND and ONEFOLD_FAULT_TOLD (a file). A kind is EIO or ENOSPC (nothing is written, or half of it with
 * HALF in front: EIO after the first half), SHORT (half is written, and said to be) or TORN (half is written, and the
 * process is killed). A sync knows EIO alone. The file gets the count as text after every call, and the call that failed
 * with its path.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char base[4096], kind[16];
static size_t base_len;
static long fail_at, count;
static int told = -1;

__attribute__((constructor)) static void begin(void)
{
    const char *below = getenv("ONEFOLD_FAULT_BASE"), *at = getenv("ONEFOLD_FAULT_AT");
    const char *what = getenv("ONEFOLD_FAULT_KIND"), *to = getenv("ONEFOLD_FAULT_TOLD");
    if (!below || !at || !what || !to)
        return;
    strncpy(base, below, sizeof base - 1);
    strncpy(kind, what, sizeof kind - 1);
    base_len = strlen(base);
    fail_at = atol(at);
    told = (int)syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
}

/* Whether this call on a file below the base is the one that fails. */
static int fails(int fd, const char *call)
{
    char link[64], path[4096], text[4200];
    if (told < 0)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    if (strncmp(path, base, base_len) != 0 || path[base_len] != '/')
        return 0;
    pthread_mutex_lock(&lock);
    int now = ++count == fail_at;
    int size = snprintf(text, sizeof text, now ? "%012ld %s %s\n" : "%012ld", count, call, path + base_len + 1);
    syscall(SYS_pwrite64, told, text, size, 0);
    pthread_mutex_unlock(&lock);
    return now;
}

static ssize_t write_any(int fd, const void *bytes, size_t size, int positioned, off64_t at)
{
    if (fails(fd, "write")) {
        size_t half = size > 1024 ? size / 2 / 512 * 512 : size / 2;
        int some = !strcmp(kind, "SHORT") || !strcmp(kind, "TORN") || !strncmp(kind, "HALF", 4);
        long done = 0;
        if (some && half)
            done = positioned ? syscall(SYS_pwrite64, fd, bytes, half, at) : syscall(SYS_write, fd, bytes, half);
        if (!strcmp(kind, "TORN"))
            kill(getpid(), SIGKILL);
        if (!strcmp(kind, "SHORT") && half)
            return done;
        errno = strstr(kind, "ENOSPC") ? ENOSPC : EIO;
        return -1;
    }
    return positioned ? syscall(SYS_pwrite64, fd, bytes, size, at) : syscall(SYS_write, fd, bytes, size);
}

ssize_t write(int fd, const void *bytes, size_t size) { return write_any(fd, bytes, size, 0, 0); }
ssize_t pwrite(int fd, const void *bytes, size_t size, off_t at) { return write_any(fd, bytes, size, 1, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t size, off64_t at) { return write_any(fd, bytes, size, 1, at); }

/* Several parts as the first of them alone, where one may fail: callers must expect short writes anyway. */
ssize_t writev(int fd, const struct iovec *parts, int n)
{
    for (int part = 0; told >= 0 && fd > 2 && part < n; part++)
        if (parts[part].iov_len > 0) {
            char link[64], path[16];
            snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
            /* Sockets and pipes go through whole. */
            if (syscall(SYS_readlinkat, AT_FDCWD, link, path, sizeof path) > 0 && path[0] == '/')
                return write_any(fd, parts[part].iov_base, parts[part].iov_len, 0, 0);
            break;
        }
    return syscall(SYS_writev, fd, parts, n);
}

static int broken(int error) { errno = error; return -1; }
static int full_or_broken(void) { return broken(strstr(kind, "ENOSPC") ? ENOSPC : EIO); }

int fsync(int fd) { return fails(fd, "sync") ? broken(EIO) : (int)syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return fails(fd, "sync") ? broken(EIO) : (int)syscall(SYS_fdatasync, fd); }
int sync_file_range(int fd, off64_t at, off64_t size, unsigned flags)
{
    return fails(fd, "sync") ? broken(EIO) : (int)syscall(SYS_sync_file_range, fd, at, size, flags);
}
int fallocate(int fd, int mode, off_t at, off_t size)
{
    return fails(fd, "allocate") ? full_or_broken() : (int)syscall(SYS_fallocate, fd, mode, at, size);
}
int fallocate64(int fd, int mode, off64_t at, off64_t size)
{
    return fails(fd, "allocate") ? full_or_broken() : (int)syscall(SYS_fallocate, fd, mode, at, size);
}
int ftruncate(int fd, off_t size) { return fails(fd, "truncate") ? broken(EIO) : (int)syscall(SYS_ftruncate, fd, size); }
int ftruncate64(int fd, off64_t size)
{
    return fails(fd, "truncate") ? broken(EIO) : (int)syscall(SYS_ftruncate, fd, size);
}
