/* SPDX-License-Identifier: Apache-2.0
 *
 * file: whole small files, read at once. Regular files only (also those of /proc): a FIFO or a
 * device would make the loop wait. */
#ifndef KEYTURN_IO_FILE_H
#define KEYTURN_IO_FILE_H

#include "base/buf.h"
#include "base/err.h"

/* Reads a file of at most max bytes into out, which is empty and gets that ceiling; name is taken
 * from dir_fd, as openat does. ERR_NOT_FOUND when there is none, ERR_LIMIT, else ERR_INVALID. What
 * was read on the way is wiped; out is as secret as its owner made it. */
int file_read_at(int dir_fd, const char *name, size_t max, struct buf *out, struct err *err);
/* The same by a path. */
int file_read(const char *path, size_t max, struct buf *out, struct err *err);

#endif
