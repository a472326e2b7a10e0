/* Seals, opens and seeks through the C header, and opens a file that another program sealed. Strict C99. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sealpoint.h"

#define CHECK(what)                                                                                       \
    do {                                                                                                  \
        if (!(what)) {                                                                                    \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #what, sealpoint_last_error());         \
            exit(1);                                                                                      \
        }                                                                                                 \
    } while (0)
#define OK(call) CHECK((call) == SEALPOINT_OK)

enum { LENGTH = 200000 };

struct memory {
    const uint8_t *bytes;
    size_t length;
};

static int64_t read_memory(void *context, uint64_t offset, uint8_t *buffer, size_t length) {
    const struct memory *memory = context;
    size_t rest;
    if (offset >= memory->length) {
        return 0;
    }
    rest = memory->length - (size_t)offset;
    length = length < rest ? length : rest;
    memcpy(buffer, memory->bytes + offset, length);
    return (int64_t)length;
}

static int64_t read_file(void *context, uint64_t offset, uint8_t *buffer, size_t length) {
    FILE *file = context;
    if (fseek(file, (long)offset, SEEK_SET) != 0) {
        return -1;
    }
    length = fread(buffer, 1, length, file);
    return ferror(file) ? -1 : (int64_t)length;
}

static void buffers(const sealpoint_engine *engine, const uint8_t *plain) {
    uint8_t *sealed, *opened;
    size_t sealed_length, opened_length;
    OK(sealpoint_encrypt(engine, "", plain, LENGTH, &sealed, &sealed_length));
    CHECK(sealed_length > LENGTH && memcmp(sealed, "SEALPNT\n", 8) == 0);
    OK(sealpoint_decrypt(engine, "", sealed, sealed_length, &opened, &opened_length));
    CHECK(opened_length == LENGTH && memcmp(opened, plain, LENGTH) == 0);
    sealpoint_buffer_free(opened, opened_length);

    opened = NULL;
    sealed[sealed_length / 2] ^= 1;
    CHECK(sealpoint_decrypt(engine, "", sealed, sealed_length, &opened, &opened_length) == SEALPOINT_E_INTEGRITY);
    CHECK(opened == NULL && strlen(sealpoint_last_error()) > 0);
    sealpoint_buffer_free(sealed, sealed_length);

    CHECK(sealpoint_decrypt(engine, "", plain, LENGTH, &opened, &opened_length) == SEALPOINT_E_NOT_SEALED);
}

/* Seals in uneven pieces with a sync between, opens from the end to the start. */
static void streams(const sealpoint_engine *engine, const uint8_t *plain) {
    size_t given = 0, filled = 0, written, bound, room = 2 * LENGTH, at;
    uint8_t *sealed = malloc(room);
    sealpoint_sealer *sealer;
    sealpoint_opener *opener;
    struct memory memory;
    uint64_t length;
    CHECK(sealed != NULL);
    OK(sealpoint_sealer_open(engine, "", "state", &sealer));
    while (given < LENGTH) {
        size_t piece = 1 + given % 7001;
        piece = piece < LENGTH - given ? piece : LENGTH - given;
        OK(sealpoint_sealer_bound(sealer, piece, &bound));
        CHECK(bound <= room - filled);
        OK(sealpoint_sealer_update(sealer, plain + given, piece, sealed + filled, room - filled, &written));
        filled += written;
        given += piece;
        if (given % 5 == 0) {
            OK(sealpoint_sealer_sync(sealer, sealed + filled, room - filled, &written));
            filled += written;
        }
    }
    CHECK(sealpoint_sealer_update(sealer, plain, 1, sealed + filled, 1, &written) == SEALPOINT_E_INVALID_ARGUMENT);
    OK(sealpoint_sealer_finish(sealer, sealed + filled, room - filled, &written));
    filled += written;
    CHECK(sealpoint_sealer_finish(sealer, sealed + filled, room - filled, &written) == SEALPOINT_E_STATE);
    sealpoint_sealer_free(sealer);

    memory.bytes = sealed;
    memory.length = filled;
    CHECK(sealpoint_opener_open(engine, "", "other", read_memory, &memory, &opener) == SEALPOINT_E_INTEGRITY);
    CHECK(sealpoint_opener_open(engine, "", "state", read_memory, &memory, NULL) == SEALPOINT_E_INVALID_ARGUMENT);
    OK(sealpoint_opener_open(engine, "", "state", read_memory, &memory, &opener));
    OK(sealpoint_opener_length(opener, filled, &length));
    CHECK(length == LENGTH);
    for (at = LENGTH; at >= 9973; at -= 9973) {
        uint8_t piece[500];
        size_t expected = LENGTH - at < sizeof piece ? LENGTH - at : sizeof piece, have = 0, read;
        OK(sealpoint_opener_seek(opener, at));
        while (have < expected) {
            OK(sealpoint_opener_read(opener, piece + have, expected - have, &read));
            CHECK(read > 0);
            have += read;
        }
        CHECK(memcmp(piece, plain + at, expected) == 0);
    }
    sealpoint_opener_free(opener);

    memory.length = filled - 1;
    OK(sealpoint_opener_open(engine, "", "state", read_memory, &memory, &opener));
    OK(sealpoint_opener_seek(opener, LENGTH - 1));
    {
        uint8_t byte[2];
        size_t read = 0;
        uint32_t code = SEALPOINT_OK;
        while (code == SEALPOINT_OK) {
            code = sealpoint_opener_read(opener, byte, sizeof byte, &read);
            CHECK(code != SEALPOINT_OK || read > 0);
        }
        CHECK(code == SEALPOINT_E_TRUNCATED);
    }
    sealpoint_opener_free(opener);
    free(sealed);
}

/* A sealed file, and the key file in the directory above its own. */
struct beside {
    struct memory file, keys;
    int asked;
};

static int64_t read_beside(void *context, uint64_t offset, uint8_t *buffer, size_t length) {
    struct beside *beside = context;
    return read_memory(&beside->file, offset, buffer, length);
}

static int64_t read_keys(void *context, uint32_t up, uint64_t offset, uint8_t *buffer, size_t length) {
    struct beside *beside = context;
    beside->asked++;
    return up == 1 ? read_memory(&beside->keys, offset, buffer, length) : 0;
}

static uint32_t number(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

/* The version of the key that wrapped the file's data key is gone; the key file has what the head had (docs/FORMAT.md). */
static void key_file(const sealpoint_engine *engine, const uint8_t *plain) {
    static const char slot[] = "sealpoint\0\0011";
    uint8_t *sealed, *keys, opened[1000];
    size_t sealed_length, bound, slots, at, read;
    sealpoint_opener *opener;
    struct beside beside;
    OK(sealpoint_encrypt(engine, "", plain, sizeof opened, &sealed, &sealed_length));
    bound = number(sealed + 12);
    slots = number(sealed + 16);
    keys = malloc(36 + slots);
    CHECK(keys != NULL);
    memcpy(keys, "SEALKEY\n\1\0\0\0\0\0\0\1", 16);
    memcpy(keys + 16, sealed + 23, 16);
    memcpy(keys + 32, sealed + 16, 4);
    memcpy(keys + 36, sealed + 20 + bound, slots);
    for (at = 20 + bound; memcmp(sealed + at, slot, sizeof slot - 1) != 0; at++) {
        CHECK(at < 20 + bound + slots);
    }
    sealed[at + sizeof slot - 2] = '7';
    beside.file.bytes = sealed;
    beside.file.length = sealed_length;
    beside.keys.bytes = keys;
    beside.keys.length = 36 + slots;
    beside.asked = 0;
    CHECK(sealpoint_opener_open(engine, "", NULL, read_beside, &beside, &opener) == SEALPOINT_E_KEY_VERSION_NOT_FOUND);
    CHECK(beside.asked == 0);
    OK(sealpoint_opener_open_beside(engine, "", NULL, read_beside, read_keys, &beside, &opener));
    OK(sealpoint_opener_read(opener, opened, sizeof opened, &read));
    CHECK(read == sizeof opened && memcmp(opened, plain, read) == 0);
    sealpoint_opener_free(opener);
    keys[36 + slots - 1] ^= 1;
    CHECK(sealpoint_opener_open_beside(engine, "", NULL, read_beside, read_keys, &beside, &opener) == SEALPOINT_E_KEY_VERSION_NOT_FOUND);
    CHECK(strstr(sealpoint_last_error(), "version '7'") != NULL);
    CHECK(sealpoint_opener_open_beside(engine, "", NULL, read_beside, NULL, &beside, &opener) == SEALPOINT_E_INVALID_ARGUMENT);
    free(keys);
    sealpoint_buffer_free(sealed, sealed_length);
}

/* With ROTATE, a command that makes a new version of the key, the data key of a file is wrapped by that. */
static void rewrapped(const sealpoint_engine *engine, const char *config, const uint8_t *plain) {
    const char *rotate = getenv("ROTATE"), *expected = rotate != NULL ? "\"renewed\":1" : "\"current\":1";
    char path[1000];
    uint8_t *sealed, *report;
    size_t length;
    uint64_t failed;
    FILE *file;
    sprintf(path, "%.900s.sealed", config);
    OK(sealpoint_encrypt(engine, path, plain, 1000, &sealed, &length));
    file = fopen(path, "wb");
    CHECK(file != NULL && fwrite(sealed, 1, length, file) == length && fclose(file) == 0);
    sealpoint_buffer_free(sealed, length);
    if (rotate != NULL) {
        CHECK(system(rotate) == 0);
    }
    OK(sealpoint_rewrap(engine, path, NULL, 0, 0, 0, &failed, &report, &length));
    sealed = malloc(length + 1);
    CHECK(sealed != NULL);
    memcpy(sealed, report, length);
    sealed[length] = 0;
    CHECK(failed == 0 && strstr((char *)sealed, expected) != NULL);
    free(sealed);
    sealpoint_buffer_free(report, length);
    CHECK(remove(path) == 0);
    OK(sealpoint_rewrap(engine, path, "primary", 1, 10, 10, &failed, &report, &length));
    CHECK(failed == 1);
    sealpoint_buffer_free(report, length);
    CHECK(sealpoint_rewrap(engine, path, "nobody", 0, 0, 0, &failed, &report, &length) == SEALPOINT_E_INVALID_ARGUMENT);
    CHECK(sealpoint_rewrap(engine, NULL, NULL, 0, 0, 0, &failed, &report, &length) == SEALPOINT_E_INVALID_ARGUMENT);
}

/* A file that another program sealed: its plaintext must hold the text. */
static void foreign(const sealpoint_engine *engine, const char *path, const char *text) {
    FILE *file = fopen(path, "rb");
    sealpoint_opener *opener;
    uint8_t buffer[65536 + 64];
    size_t kept = 0, read, total = 0, wanted = strlen(text);
    int found = 0;
    CHECK(file != NULL);
    OK(sealpoint_opener_open(engine, path, NULL, read_file, file, &opener));
    do {
        size_t i;
        OK(sealpoint_opener_read(opener, buffer + kept, 65536, &read));
        total += read;
        for (i = 0; i + wanted <= kept + read; i++) {
            found |= memcmp(buffer + i, text, wanted) == 0;
        }
        i = kept + read < wanted ? kept + read : wanted - 1;
        memmove(buffer, buffer + kept + read - i, i);
        kept = i;
    } while (read > 0);
    sealpoint_opener_free(opener);
    fclose(file);
    CHECK(found);
    printf("%s: %lu bytes, holds \"%s\"\n", path, (unsigned long)total, text);
}

int main(int count, char **arguments) {
    sealpoint_engine *engine = NULL;
    uint8_t *plain = malloc(LENGTH);
    size_t i;
    CHECK(plain != NULL);
    CHECK(count == 2 || count == 4);
    CHECK(sealpoint_abi_version() == SEALPOINT_ABI_VERSION);
    for (i = 0; i < LENGTH; i++) {
        plain[i] = (uint8_t)(i * 31 + i / 251);
    }
    CHECK(sealpoint_engine_open_text("no-such-key = 1", &engine) == SEALPOINT_E_CONFIG);
    CHECK(engine == NULL);
    OK(sealpoint_engine_open_file(arguments[1], &engine));
    buffers(engine, plain);
    streams(engine, plain);
    key_file(engine, plain);
    rewrapped(engine, arguments[1], plain);
    if (count == 4) {
        foreign(engine, arguments[2], arguments[3]);
    }
    sealpoint_engine_free(engine);
    free(plain);
    printf("ok, library %s\n", sealpoint_version());
    return 0;
}
