/* Records what a process does to the files below one directory, in order: for drills that cut the power.
 *
 * LD_PRELOAD it with ONEFOLD_SHIM_BASE (the directory, absolute) and ONEFOLD_SHIM_LOG (the log, appended to). Every
 * record is the effect of one call; call and record happen under one lock, so the order of the log is the order of the
 * effects. Nothing is synced for real: what a sync is worth is decided when the log is read.
 *
 * record = op u8 . fd i32 . a i64 . b i64 . n u32 . m u32 . n bytes . m bytes, little-endian
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { START = 0, OPEN = 1, DUP = 2, WRITE = 3, FSYNC = 4, FDATASYNC = 5, RANGE = 6, TRUNCATE = 7, ALLOCATE = 8,
       RENAME = 9, UNLINK = 10, RMDIR = 11, MKDIR = 12 };

#define FDS 4096
static struct { char *path; dev_t dev; ino_t ino; } open_files[FDS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char base[4096];
static size_t base_len;
static int log_fd = -1;

static void record(uint8_t op, int32_t fd, int64_t a, int64_t b, const void *x, uint32_t n, const void *y, uint32_t m)
{
    unsigned char head[29];
    struct iovec parts[3] = { { head, sizeof head }, { (void *)x, n }, { (void *)y, m } };
    head[0] = op;
    memcpy(head + 1, &fd, 4);
    memcpy(head + 5, &a, 8);
    memcpy(head + 13, &b, 8);
    memcpy(head + 21, &n, 4);
    memcpy(head + 25, &m, 4);
    ssize_t want = (ssize_t)sizeof head + n + m;
    if (syscall(SYS_writev, log_fd, parts, 3) != want) {
        /* A drill on half a log would prove nothing. */
        static const char why[] = "the recording cannot be written\n";
        syscall(SYS_write, 2, why, sizeof why - 1);
        _exit(97);
    }
}

__attribute__((constructor)) static void begin(void)
{
    const char *to = getenv("ONEFOLD_SHIM_LOG"), *below = getenv("ONEFOLD_SHIM_BASE");
    if (!to || !below)
        return;
    strncpy(base, below, sizeof base - 1);
    base_len = strlen(base);
    log_fd = (int)syscall(SYS_openat, AT_FDCWD, to, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    record(START, -1, 0, 0, base, (uint32_t)base_len, "", 0);
}

static int recording(void) { return log_fd >= 0; }

static int below_base(const char *path)
{
    return strncmp(path, base, base_len) == 0 && (path[base_len] == '/' || path[base_len] == 0);
}

/* The absolute path, where it lies below the base; NULL otherwise. */
static const char *resolve(int dir, const char *path, char *into)
{
    if (path[0] == '/')
        return below_base(path) ? path : NULL;
    if (dir == AT_FDCWD) {
        char cwd[2048];
        if (!getcwd(cwd, sizeof cwd))
            return NULL;
        snprintf(into, 4096, "%s/%s", cwd, path);
    } else {
        if (dir < 0 || dir >= FDS || !open_files[dir].path)
            return NULL;
        snprintf(into, 4096, "%s/%s", open_files[dir].path, path);
    }
    return below_base(into) ? into : NULL;
}

static void forget(int fd)
{
    if (fd >= 0 && fd < FDS && open_files[fd].path) {
        free(open_files[fd].path);
        open_files[fd].path = NULL;
    }
}

/* Whether the descriptor is still the file that was opened under it: not all closing passes through here. */
static int known(int fd)
{
    struct stat now;
    if (fd < 0 || fd >= FDS || !open_files[fd].path)
        return 0;
    if (fstat(fd, &now) != 0 || now.st_ino != open_files[fd].ino || now.st_dev != open_files[fd].dev) {
        forget(fd);
        return 0;
    }
    return 1;
}

static void remember(int fd, const char *path)
{
    struct stat now;
    if (fd < 0 || fd >= FDS)
        return;
    forget(fd);
    if (fstat(fd, &now) == 0) {
        open_files[fd].path = strdup(path);
        open_files[fd].dev = now.st_dev;
        open_files[fd].ino = now.st_ino;
    }
}

#define REAL(type, name, ...) \
    static type (*real)(__VA_ARGS__); \
    if (!real) real = (type (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static int open_any(int dir, const char *path, int flags, mode_t mode)
{
    char text[4096];
    int fd;
    if (!recording())
        return (int)syscall(SYS_openat, dir, path, flags, mode);
    pthread_mutex_lock(&lock);
    const char *whole = resolve(dir, path, text);
    fd = (int)syscall(SYS_openat, dir, path, flags, mode);
    int error = errno;
    if (fd >= 0) {
        forget(fd);
        if (whole) {
            remember(fd, whole);
            record(OPEN, fd, flags, 0, whole, (uint32_t)strlen(whole), "", 0);
        }
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

static mode_t mode_of(int flags, va_list more)
{
    return (flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE ? va_arg(more, mode_t) : 0;
}

#define OPENS(name) \
    int name(const char *path, int flags, ...) { \
        va_list more; va_start(more, flags); mode_t mode = mode_of(flags, more); va_end(more); \
        return open_any(AT_FDCWD, path, flags, mode); }
#define OPENS_AT(name) \
    int name(int dir, const char *path, int flags, ...) { \
        va_list more; va_start(more, flags); mode_t mode = mode_of(flags, more); va_end(more); \
        return open_any(dir, path, flags, mode); }
OPENS(open)
OPENS(open64)
OPENS_AT(openat)
OPENS_AT(openat64)

int close(int fd)
{
    if (recording()) {
        pthread_mutex_lock(&lock);
        forget(fd);
        int done = (int)syscall(SYS_close, fd);
        int error = errno;
        pthread_mutex_unlock(&lock);
        errno = error;
        return done;
    }
    return (int)syscall(SYS_close, fd);
}

static int fcntl_any(int fd, int command, long argument)
{
    if (!recording())
        return (int)syscall(SYS_fcntl, fd, command, argument);
    pthread_mutex_lock(&lock);
    int copied = (command == F_DUPFD || command == F_DUPFD_CLOEXEC) && known(fd);
    int done = (int)syscall(SYS_fcntl, fd, command, argument);
    int error = errno;
    if (copied && done >= 0) {
        remember(done, open_files[fd].path);
        record(DUP, fd, done, 0, "", 0, "", 0);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

#define FCNTLS(name) \
    int name(int fd, int command, ...) { \
        va_list more; va_start(more, command); long argument = va_arg(more, long); va_end(more); \
        return fcntl_any(fd, command, argument); }
FCNTLS(fcntl)
FCNTLS(fcntl64)

static ssize_t write_any(int fd, const void *bytes, size_t count, int positioned, off64_t offset)
{
    ssize_t done;
    if (!recording())
        return positioned ? syscall(SYS_pwrite64, fd, bytes, count, offset) : syscall(SYS_write, fd, bytes, count);
    pthread_mutex_lock(&lock);
    int ours = known(fd);
    if (ours && !positioned) {
        struct stat now;
        if (syscall(SYS_fcntl, fd, F_GETFL, 0) & O_APPEND)
            offset = fstat(fd, &now) == 0 ? now.st_size : 0;
        else
            offset = syscall(SYS_lseek, fd, 0, SEEK_CUR);
    }
    if (!ours) {
        /* Not one of ours, and perhaps a pipe that waits: not under the lock. */
        pthread_mutex_unlock(&lock);
        return positioned ? syscall(SYS_pwrite64, fd, bytes, count, offset) : syscall(SYS_write, fd, bytes, count);
    }
    done = positioned ? syscall(SYS_pwrite64, fd, bytes, count, offset) : syscall(SYS_write, fd, bytes, count);
    int error = errno;
    if (done > 0)
        record(WRITE, fd, offset, 0, bytes, (uint32_t)done, "", 0);
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

ssize_t write(int fd, const void *bytes, size_t count) { return write_any(fd, bytes, count, 0, 0); }
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) { return write_any(fd, bytes, count, 1, at); }
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) { return write_any(fd, bytes, count, 1, at); }

/* Several parts as the first of them alone: callers must expect short writes anyway. */
static ssize_t writev_any(int fd, const struct iovec *parts, int count, int positioned, off64_t offset)
{
    pthread_mutex_lock(&lock);
    int ours = recording() && known(fd);
    pthread_mutex_unlock(&lock);
    if (!ours)
        return positioned ? syscall(SYS_pwritev, fd, parts, count, offset, 0) : syscall(SYS_writev, fd, parts, count);
    for (int part = 0; part < count; part++)
        if (parts[part].iov_len > 0)
            return write_any(fd, parts[part].iov_base, parts[part].iov_len, positioned, offset);
    return 0;
}

ssize_t writev(int fd, const struct iovec *parts, int count) { return writev_any(fd, parts, count, 0, 0); }
ssize_t pwritev(int fd, const struct iovec *p, int count, off_t at) { return writev_any(fd, p, count, 1, at); }
ssize_t pwritev64(int fd, const struct iovec *p, int count, off64_t at) { return writev_any(fd, p, count, 1, at); }

#define NOTES(name, op, parameters, a, b, call) \
    int name parameters { \
        pthread_mutex_lock(&lock); \
        int ours = recording() && known(fd); \
        int done = (int)(call); \
        int error = errno; \
        if (ours && done == 0) \
            record(op, fd, a, b, "", 0, "", 0); \
        pthread_mutex_unlock(&lock); \
        errno = error; \
        return done; }
/* A sync of ours need not reach the device: it only has to be known. */
NOTES(fsync, FSYNC, (int fd), 0, 0, ours ? 0 : syscall(SYS_fsync, fd))
NOTES(fdatasync, FDATASYNC, (int fd), 0, 0, ours ? 0 : syscall(SYS_fdatasync, fd))
NOTES(sync_file_range, RANGE, (int fd, off64_t at, off64_t count, unsigned flags), at, count,
      ours ? 0 : syscall(SYS_sync_file_range, fd, at, count, flags))
NOTES(ftruncate, TRUNCATE, (int fd, off_t size), size, 0, syscall(SYS_ftruncate, fd, size))
NOTES(ftruncate64, TRUNCATE, (int fd, off64_t size), size, 0, syscall(SYS_ftruncate, fd, size))
NOTES(fallocate, ALLOCATE, (int fd, int mode, off_t at, off_t count), at, count | (int64_t)mode << 56,
      syscall(SYS_fallocate, fd, mode, at, count))
NOTES(fallocate64, ALLOCATE, (int fd, int mode, off64_t at, off64_t count), at, count | (int64_t)mode << 56,
      syscall(SYS_fallocate, fd, mode, at, count))

static int names_any(uint8_t op, int dir, const char *path, int dir2, const char *path2, long number, long x, long y,
                     long z, long u, long v)
{
    char text[4096], text2[4096];
    if (!recording())
        return (int)syscall(number, x, y, z, u, v);
    pthread_mutex_lock(&lock);
    const char *first = resolve(dir, path, text), *second = path2 ? resolve(dir2, path2, text2) : "";
    int done = (int)syscall(number, x, y, z, u, v);
    int error = errno;
    if (done == 0 && first && second)
        record(op, -1, 0, 0, first, (uint32_t)strlen(first), second, (uint32_t)strlen(second));
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

int rename(const char *from, const char *to)
{
    return names_any(RENAME, AT_FDCWD, from, AT_FDCWD, to, SYS_renameat2, AT_FDCWD, (long)from, AT_FDCWD, (long)to, 0);
}
int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    return names_any(RENAME, from_dir, from, to_dir, to, SYS_renameat2, from_dir, (long)from, to_dir, (long)to, 0);
}
int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
    return names_any(RENAME, from_dir, from, to_dir, to, SYS_renameat2, from_dir, (long)from, to_dir, (long)to, flags);
}
int unlink(const char *path)
{
    return names_any(UNLINK, AT_FDCWD, path, 0, NULL, SYS_unlinkat, AT_FDCWD, (long)path, 0, 0, 0);
}
int unlinkat(int dir, const char *path, int flags)
{
    uint8_t op = flags & AT_REMOVEDIR ? RMDIR : UNLINK;
    return names_any(op, dir, path, 0, NULL, SYS_unlinkat, dir, (long)path, flags, 0, 0);
}
int rmdir(const char *path)
{
    return names_any(RMDIR, AT_FDCWD, path, 0, NULL, SYS_unlinkat, AT_FDCWD, (long)path, AT_REMOVEDIR, 0, 0);
}
int mkdir(const char *path, mode_t mode)
{
    return names_any(MKDIR, AT_FDCWD, path, 0, NULL, SYS_mkdirat, AT_FDCWD, (long)path, mode, 0, 0);
}
int mkdirat(int dir, const char *path, mode_t mode)
{
    return names_any(MKDIR, dir, path, 0, NULL, SYS_mkdirat, dir, (long)path, mode, 0, 0);
}
