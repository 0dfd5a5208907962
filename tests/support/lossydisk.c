/* SPDX-License-Identifier: MIT
 *
 * What a program does to the files of a folder, written down by being loaded before the C library (LD_PRELOAD), so that
 * tests.support.lossydisk can say what a disk may hold after a power cut. LOSSY_FOLDER names the folder, LOSSY_JOURNAL
 * the file that it is written to; LOSSY_BOOT, if given, is read in place of the kernel's id of this boot, and
 * LOSSY_UPTIME is added to CLOCK_BOOTTIME. While there is a file LOSSY_FAILS, an fsync fails, and what it was for is never
 * written, as the kernel does it. Whatever the program starts has none of it.
 *
 * A record is a head and a payload. An operation is on record before the next one of its thread begins, and the begin of
 * an fsync before the fsync. A folder within the folder is not looked at: there are locks.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct head {
    char what; /* Open, Write, Truncate, sync Begins, sync Ended, sync Failed, Rename, Unlink */
    char pad[7];
    uint64_t file;   /* the inode */
    uint64_t offset; /* of a write; the length of a truncation; the number of a sync */
    uint64_t size;   /* of the payload: what is written, a name, or two with a NUL between them */
};

#define REAL(name) ((__typeof__(&name))real(#name))

static char folder[PATH_MAX];
static size_t length;
static char boot[PATH_MAX];
static char fails[PATH_MAX];
static double added;
static int journal = -1;
static dev_t device;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t syncs;

static void *real(const char *name) { return dlsym(RTLD_NEXT, name); }

__attribute__((constructor)) static void begin(void) {
    const char *place = getenv("LOSSY_FOLDER"), *file = getenv("LOSSY_JOURNAL");
    if (getenv("LOSSY_BOOT")) snprintf(boot, sizeof boot, "%s", getenv("LOSSY_BOOT"));
    if (getenv("LOSSY_FAILS")) snprintf(fails, sizeof fails, "%s", getenv("LOSSY_FAILS"));
    if (getenv("LOSSY_UPTIME")) added = atof(getenv("LOSSY_UPTIME"));
    unsetenv("LD_PRELOAD");
    if (!place || !file) return;
    struct stat seen;
    if (stat(place, &seen)) return;
    device = seen.st_dev;
    snprintf(folder, sizeof folder, "%s/", place);
    length = strlen(folder);
    int fd = REAL(open)(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    journal = fcntl(fd, F_DUPFD_CLOEXEC, 500);
    REAL(close)(fd);
}

/* The name within the folder; NULL if the path is of another place. */
static const char *ours(int at, const char *path, char *room) {
    if (journal < 0 || !path) return NULL;
    if (path[0] != '/') {
        char link[64];
        if (at == AT_FDCWD) snprintf(link, sizeof link, "/proc/self/cwd");
        else snprintf(link, sizeof link, "/proc/self/fd/%d", at);
        ssize_t size = readlink(link, room, PATH_MAX - 1);
        if (size < 0) return NULL;
        snprintf(room + size, PATH_MAX - size, "/%s", path);
        path = room;
    }
    if (strncmp(path, folder, length)) return NULL;
    path += length;
    return *path && !strchr(path, '/') ? path : NULL;
}

static void put(char what, uint64_t file, uint64_t offset, const void *payload, size_t size) {
    struct head head = {what, {0}, file, offset, size};
    struct iovec parts[2] = {{&head, sizeof head}, {(void *)payload, size}};
    if (writev(journal, parts, 2) != (ssize_t)(sizeof head + size)) abort();
}

static void put_names(char what, const char *one, const char *other) {
    char both[2 * NAME_MAX + 2];
    int size = snprintf(both, sizeof both, "%s%c%s", one, 0, other);
    put(what, 0, 0, both, size);
}

/* The inode of what is open, if it is a file or a folder of this disk that anything of ours can be in; else 0. */
static uint64_t inode(int fd) {
    struct stat seen;
    if (journal < 0 || fd == journal || fstat(fd, &seen) || seen.st_dev != device) return 0;
    return S_ISREG(seen.st_mode) || S_ISDIR(seen.st_mode) ? seen.st_ino : 0;
}

static int opened(int at, const char *path, int flags, mode_t mode) {
    char room[PATH_MAX];
    if (boot[0] && path && !strcmp(path, "/proc/sys/kernel/random/boot_id")) path = boot;
    const char *name = flags & (O_WRONLY | O_RDWR) ? ours(at, path, room) : NULL;
    if (!name || (flags & O_TMPFILE) == O_TMPFILE) return REAL(openat)(at, path, flags, mode);
    pthread_mutex_lock(&lock);
    int fd = REAL(openat)(at, path, flags, mode);
    struct stat seen;
    if (fd >= 0 && !fstat(fd, &seen) && S_ISREG(seen.st_mode)) {
        put('O', seen.st_ino, 0, name, strlen(name));
        if (flags & O_TRUNC) put('T', seen.st_ino, 0, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE(flags)                                          \
    mode_t mode = 0;                                         \
    if ((flags) & (O_CREAT | O_TMPFILE)) {                   \
        va_list more;                                        \
        va_start(more, flags);                               \
        mode = va_arg(more, mode_t);                         \
        va_end(more);                                        \
    }

int open(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opened(AT_FDCWD, path, flags, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return opened(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return opened(at, path, flags, mode); }

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    ssize_t done = REAL(pwrite64)(fd, data, size, offset);
    uint64_t file = done > 0 ? inode(fd) : 0;
    if (file) put('W', file, offset, data, done);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return pwrite64(fd, data, size, offset); }

ssize_t write(int fd, const void *data, size_t size) {
    ssize_t done = REAL(write)(fd, data, size);
    uint64_t file = done > 0 ? inode(fd) : 0;
    if (file) put('W', file, lseek(fd, 0, SEEK_CUR) - done, data, done);
    return done;
}

int ftruncate64(int fd, off64_t size) {
    int failed = REAL(ftruncate64)(fd, size);
    uint64_t file = failed ? 0 : inode(fd);
    if (file) put('T', file, size, NULL, 0);
    return failed;
}

int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

static int synced(int fd, int (*sync)(int)) {
    uint64_t file = inode(fd), number = 0;
    if (file && fails[0] && !access(fails, F_OK)) {
        put('F', file, 0, NULL, 0);
        errno = EIO;
        return -1;
    }
    if (file) put('B', file, number = __atomic_add_fetch(&syncs, 1, __ATOMIC_SEQ_CST), NULL, 0);
    int failed = sync(fd);
    if (file && !failed) put('E', file, number, NULL, 0);
    return failed;
}

int fsync(int fd) { return synced(fd, REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }

int renameat(int one, const char *from, int other, const char *to) {
    char room[PATH_MAX], space[PATH_MAX];
    const char *old = ours(one, from, room), *new = ours(other, to, space);
    pthread_mutex_lock(&lock);
    int failed = REAL(renameat)(one, from, other, to);
    if (!failed && old && new) put_names('R', old, new);
    pthread_mutex_unlock(&lock);
    return failed;
}

int rename(const char *from, const char *to) { return renameat(AT_FDCWD, from, AT_FDCWD, to); }

int unlinkat(int at, const char *path, int flags) {
    char room[PATH_MAX];
    const char *name = ours(at, path, room);
    pthread_mutex_lock(&lock);
    int failed = REAL(unlinkat)(at, path, flags);
    if (!failed && name) put('U', 0, 0, name, strlen(name));
    pthread_mutex_unlock(&lock);
    return failed;
}

int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }

int clock_gettime(clockid_t which, struct timespec *time) {
    static int (*kept)(clockid_t, struct timespec *);
    if (!kept) kept = REAL(clock_gettime);
    int failed = kept(which, time);
    if (!failed && which == CLOCK_BOOTTIME && added) {
        double now = time->tv_sec + time->tv_nsec / 1e9 + added;
        time->tv_sec = (time_t)now;
        time->tv_nsec = (long)((now - (double)time->tv_sec) * 1e9);
    }
    return failed;
}
