/* SPDX-License-Identifier: Apache-2.0 */
#include "io/file.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(struct err *err, const char *name)
{
    return err_set(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_INVALID, "cannot read %s: %s", name,
                   strerror(errno));
}

static int read_all(int fd, const char *name, struct buf *out, struct err *err)
{
    struct stat st;
    char piece[4096];
    ssize_t got;
    if (fstat(fd, &st) != 0)
        return fail(err, name);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_INVALID, "%s is not a file", name);
    do {
        got = read(fd, piece, sizeof(piece));
        if (got > 0)
            buf_append(out, piece, (size_t)got);
    } while ((got > 0 && !out->failed) || (got < 0 && errno == EINTR));
    int result = got < 0 ? fail(err, name) : 0;
    explicit_bzero(piece, sizeof(piece));
    if (out->failed)
        result = err_set(err, ERR_LIMIT, "%s is larger than %zu bytes", name, out->max);
    return result;
}

int file_read_at(int dir_fd, const char *name, size_t max, struct buf *out, struct err *err)
{
    int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return fail(err, name);
    out->max = max;
    int result = read_all(fd, name, out, err);
    close(fd);
    return result;
}

int file_read(const char *path, size_t max, struct buf *out, struct err *err)
{
    return file_read_at(AT_FDCWD, path, max, out, err);
}
