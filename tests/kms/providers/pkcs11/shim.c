/*
 * A PKCS#11 module in front of another one (MODULE), which fails on demand. It passes every call on, but for a key with
 * the label L that the file FAULTS/L exists for:
 *
 *   delay S    wrapping and unwrapping take so many seconds longer
 *   hang       they do not return while the file says so, at most for a minute
 *   length N   what is unwrapped is N bytes of 7
 *
 * Each call that is held up leaves a byte in FAULTS/L.calls.
 */
#define _POSIX_C_SOURCE 200809L

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

/* As PKCS#11 2.40 has them, with names of our own. */
typedef unsigned long ulong;
typedef unsigned char byte;
struct attribute { ulong type; void *value; ulong length; };

typedef ulong function(void);
typedef ulong start(ulong session, void *mechanism, ulong key);

/* What is not named here is passed on as it is. */
struct function_list {
    byte version[2];
    function *to_get_object_size[24];
    ulong (*get_attribute_value)(ulong session, ulong object, struct attribute *attributes, ulong count);
    function *to_find_objects_final[4];
    start *encrypt_init;
    function *to_encrypt_final[3];
    start *decrypt_init;
    ulong (*decrypt)(ulong session, byte *sealed, ulong sealed_length, byte *opened, ulong *opened_length);
    function *to_generate_key_pair[25];
    ulong (*wrap_key)(ulong session, void *mechanism, ulong key, ulong wrapped, byte *bytes, ulong *length);
    ulong (*unwrap_key)(ulong session, void *mechanism, ulong key, byte *bytes, ulong length,
                        struct attribute *attributes, ulong count, ulong *unwrapped);
    function *to_wait_for_slot_event[6];
};

enum { OK = 0, GENERAL_ERROR = 5, BUFFER_TOO_SMALL = 0x150 };
enum { VALUE = 0x11, LABEL = 3 };

static struct function_list *real, ours;

/* Sessions that decrypt, and objects that were unwrapped, whose answers get another length. */
struct altered { ulong session, object, length; int used; };
static struct altered altered[64];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void alter(ulong session, ulong object, long length) {
    struct altered *place = NULL;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < sizeof altered / sizeof *altered; i++) {
        struct altered *one = &altered[i];
        if (one->used && one->session == session && one->object == object) one->used = 0;
        if (!one->used && !place) place = one;
    }
    if (place && length >= 0) *place = (struct altered){session, object, (ulong)length, 1};
    pthread_mutex_unlock(&lock);
}

/* The length that answers about it get, or -1. */
static long altered_length(ulong session, ulong object) {
    long length = -1;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < sizeof altered / sizeof *altered; i++)
        if (altered[i].used && altered[i].session == session && altered[i].object == object)
            length = (long)altered[i].length;
    pthread_mutex_unlock(&lock);
    return length;
}

static int fault_of(const char *label, char *kind, long *number) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", FAULTS, label);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    *number = 0;
    int found = fscanf(file, "%15s %ld", kind, number);
    fclose(file);
    return found >= 1;
}

static void note(const char *label) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s.calls", FAULTS, label);
    FILE *file = fopen(path, "a");
    if (!file) return;
    fputc('x', file);
    fclose(file);
}

/* Does to a call with this key what is asked for, and tells the length that its answer gets, or -1. */
static long suffer(ulong session, ulong key) {
    char label[256] = {0}, kind[16] = {0};
    long number = 0;
    struct attribute wanted = {LABEL, label, sizeof label - 1};
    if (real->get_attribute_value(session, key, &wanted, 1) != OK || strchr(label, '/') || !fault_of(label, kind, &number)) return -1;
    if (!strcmp(kind, "length")) return number;
    note(label);
    int hangs = !strcmp(kind, "hang");
    /* By small steps: a process that stands still does not use up the time. */
    for (long step = 0; step < (hangs ? 60 : number) * 20; step++) {
        if (hangs && !(fault_of(label, kind, &number) && !strcmp(kind, "hang"))) break;
        nanosleep(&(struct timespec){0, 50000000}, NULL);
    }
    return -1;
}

static ulong our_encrypt_init(ulong session, void *mechanism, ulong key) {
    suffer(session, key);
    return real->encrypt_init(session, mechanism, key);
}

static ulong our_decrypt_init(ulong session, void *mechanism, ulong key) {
    alter(session, 0, suffer(session, key));
    return real->decrypt_init(session, mechanism, key);
}

static ulong our_decrypt(ulong session, byte *sealed, ulong sealed_length, byte *opened, ulong *opened_length) {
    byte scratch[1024];
    ulong room = sizeof scratch;
    long length = altered_length(session, 0);
    if (length < 0) return real->decrypt(session, sealed, sealed_length, opened, opened_length);
    if (opened) {
        /* The operation ends in the module as well. */
        if (*opened_length < (ulong)length) return BUFFER_TOO_SMALL;
        ulong outcome = real->decrypt(session, sealed, sealed_length, scratch, &room);
        alter(session, 0, -1);
        if (outcome != OK) return outcome;
        memset(opened, 7, (size_t)length);
    }
    *opened_length = (ulong)length;
    return OK;
}

static ulong our_wrap_key(ulong session, void *mechanism, ulong key, ulong wrapped, byte *bytes, ulong *length) {
    if (bytes) suffer(session, key);
    return real->wrap_key(session, mechanism, key, wrapped, bytes, length);
}

static ulong our_unwrap_key(ulong session, void *mechanism, ulong key, byte *bytes, ulong length,
                            struct attribute *attributes, ulong count, ulong *unwrapped) {
    long other = suffer(session, key);
    ulong outcome = real->unwrap_key(session, mechanism, key, bytes, length, attributes, count, unwrapped);
    if (outcome == OK) alter(session, *unwrapped, other);
    return outcome;
}

static ulong our_get_attribute_value(ulong session, ulong object, struct attribute *attributes, ulong count) {
    long length = altered_length(session, object);
    if (length < 0 || count != 1 || attributes->type != VALUE)
        return real->get_attribute_value(session, object, attributes, count);
    if (attributes->value) {
        if (attributes->length < (ulong)length) return BUFFER_TOO_SMALL;
        memset(attributes->value, 7, (size_t)length);
        alter(session, object, -1);
    }
    attributes->length = (ulong)length;
    return OK;
}

static void load(void) {
    void *module = dlopen(MODULE, RTLD_NOW | RTLD_LOCAL);
    ulong (*list)(struct function_list **);
    if (!module) return;
    *(void **)&list = dlsym(module, "C_GetFunctionList");
    if (!list || list(&real) != OK) {
        real = NULL;
        return;
    }
    ours = *real;
    ours.get_attribute_value = our_get_attribute_value;
    ours.encrypt_init = our_encrypt_init;
    ours.decrypt_init = our_decrypt_init;
    ours.decrypt = our_decrypt;
    ours.wrap_key = our_wrap_key;
    ours.unwrap_key = our_unwrap_key;
}

ulong C_GetFunctionList(struct function_list **list);

ulong C_GetFunctionList(struct function_list **list) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    if (!real) return GENERAL_ERROR;
    *list = &ours;
    return OK;
}
