/* SPDX-License-Identifier: Apache-2.0
 *
 * replay: gives every file named on the command line, or found in a folder named there, to a fuzz
 * target, without libFuzzer: any compiler, any sanitizer, any debugger. Prints the file before it
 * is tried when KEYTURN_REPLAY_VERBOSE is set. Ends with the number of inputs; 1 when there were
 * none. */
#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INPUT_MAX_BYTES (16L << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay_file(const char *path)
{
    FILE *file = fopen(path, "rb");
    uint8_t *data = NULL;
    long size = -1;
    int result = -1;

    if (file == NULL) {
        perror(path);
        return -1;
    }
    if (fseek(file, 0, SEEK_END) == 0) {
        size = ftell(file);
    }
    if (size < 0 || size > INPUT_MAX_BYTES || fseek(file, 0, SEEK_SET) != 0) {
        fprintf(stderr, "%s: no plain file of at most %ld bytes\n", path, INPUT_MAX_BYTES);
        goto out;
    }
    /* Exactly as large as the input, so that ASan sees one byte too many. */
    data = malloc(size > 0 ? (size_t)size : 1);
    if (data == NULL || fread(data, 1, (size_t)size, file) != (size_t)size) {
        fprintf(stderr, "%s: cannot be read\n", path);
        goto out;
    }
    if (getenv("KEYTURN_REPLAY_VERBOSE") != NULL) {
        fprintf(stderr, "%s\n", path);
    }
    result = LLVMFuzzerTestOneInput(data, (size_t)size) == 0 ? 0 : -1;
out:
    free(data);
    fclose(file);
    return result;
}

/* How many were given to the target, or -1. */
static int replay_path(const char *path)
{
    struct stat info;
    struct dirent **entries = NULL;
    int count = 0;

    if (stat(path, &info) != 0) {
        perror(path);
        return -1;
    }
    if (!S_ISDIR(info.st_mode)) {
        return replay_file(path) == 0 ? 1 : -1;
    }
    int found = scandir(path, &entries, NULL, alphasort);
    for (int i = 0; i < found; i++) {
        char inner[4096];
        int length = snprintf(inner, sizeof(inner), "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.' && count >= 0) {
            bool bad = length < 0 || (size_t)length >= sizeof(inner) || replay_file(inner) != 0;
            count = bad ? -1 : count + 1;
        }
        free(entries[i]);
    }
    free(entries);
    return found < 0 ? -1 : count;
}

int main(int argc, char **argv)
{
    int inputs = 0;

    for (int i = 1; i < argc; i++) {
        int count = replay_path(argv[i]);
        if (count < 0) {
            return 1;
        }
        inputs += count;
    }
    printf("%d inputs\n", inputs);
    return inputs > 0 ? 0 : 1;
}
