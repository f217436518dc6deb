/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "io/file.h"

static char dir[64];
static int dir_fd;
static struct buf out;
static struct err err;

static int setup(void **state)
{
    (void)state;
    strcpy(dir, "/tmp/keyturn-test-XXXXXX");
    assert_non_null(mkdtemp(dir));
    dir_fd = open(dir, O_RDONLY | O_DIRECTORY);
    assert_true(dir_fd >= 0);
    err_clear(&err);
    return 0;
}

static int teardown(void **state)
{
    static const char *const names[] = {"file", "pipe", "link"};
    (void)state;
    buf_release(&out);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        (void)unlinkat(dir_fd, names[i], 0);
    close(dir_fd);
    assert_int_equal(rmdir(dir), 0);
    return 0;
}

static void write_bytes(size_t count)
{
    int fd = openat(dir_fd, "file", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(write(fd, &"0123456789abcdef"[i % 16], 1), 1);
    close(fd);
}

static void assert_refused(const char *name, enum err_class class, const char *word)
{
    struct buf cleanup_buf none = {0};
    assert_int_equal(file_read_at(dir_fd, name, 100, &none, &err), -1);
    assert_int_equal(err.class, class);
    assert_non_null(strstr(err.msg, word));
    assert_non_null(strstr(err.msg, name));
}

static void whole_files_up_to_the_ceiling(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 4096, 4097, 10000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        write_bytes(sizes[i]);
        assert_int_equal(file_read_at(dir_fd, "file", sizes[i], &out, &err), 0);
        assert_int_equal(out.len, sizes[i]);
        if (sizes[i] > 1) {
            assert_int_equal(out.data[sizes[i] - 1], "0123456789abcdef"[(sizes[i] - 1) % 16]);
            buf_release(&out);
            assert_int_equal(file_read_at(dir_fd, "file", sizes[i] - 1, &out, &err), -1);
            assert_int_equal(err.class, ERR_LIMIT);
        }
        buf_release(&out);
    }
}

static void by_path_and_by_link(void **state)
{
    (void)state;
    char path[128];
    write_bytes(3);
    assert_int_equal(symlinkat("file", dir_fd, "link"), 0);
    snprintf(path, sizeof(path), "%s/link", dir);
    assert_int_equal(file_read(path, 100, &out, &err), 0);
    assert_string_equal(buf_text(&out), "012");
}

static void files_without_a_size(void **state)
{
    (void)state;
    assert_int_equal(file_read("/proc/self/statm", 128, &out, &err), 0);
    assert_true(out.len > 5);
}

static void what_is_no_file(void **state)
{
    (void)state;
    assert_refused("missing", ERR_NOT_FOUND, "No such file");
    assert_refused(".", ERR_INVALID, "is not a file");
    assert_refused("/dev/zero", ERR_INVALID, "is not a file");
    assert_int_equal(mkfifoat(dir_fd, "pipe", 0600), 0);
    assert_refused("pipe", ERR_INVALID, "is not a file"); /* and does not wait for a writer */
    write_bytes(1);
    assert_refused("file/x", ERR_INVALID, "Not a directory");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        CASE(whole_files_up_to_the_ceiling),
        CASE(by_path_and_by_link),
        CASE(files_without_a_size),
        CASE(what_is_no_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
