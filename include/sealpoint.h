/*
 * Sealpoint: envelope encryption of files and buffers.
 *
 * Every function that can fail returns SEALPOINT_OK or a SEALPOINT_E_* code; sealpoint_last_error() then tells what
 * happened on this thread. Outputs are written only on success. Lengths and offsets are bytes; text is UTF-8.
 * Generated from native/ffi/c.rs by `make header`: do not edit.
 */

#ifndef SEALPOINT_H
#define SEALPOINT_H

#include <stddef.h>
#include <stdint.h>

/* What a call that failed returns. A number never changes its meaning. */
#define SEALPOINT_E_INVALID_ARGUMENT 1
#define SEALPOINT_E_CONFIG 2
#define SEALPOINT_E_IO 3
#define SEALPOINT_E_STATE 4
#define SEALPOINT_E_INTERNAL 5
#define SEALPOINT_E_UNSUPPORTED 6
#define SEALPOINT_E_INTEGRITY 20
#define SEALPOINT_E_TRUNCATED 21
#define SEALPOINT_E_NOT_SEALED 22
#define SEALPOINT_E_MALFORMED 23
#define SEALPOINT_E_UNSUPPORTED_VERSION 24
#define SEALPOINT_E_SUITE_NOT_ALLOWED 25
#define SEALPOINT_E_TENANT_NOT_ALLOWED 26
#define SEALPOINT_E_KEY_NOT_ALLOWED 27
#define SEALPOINT_E_KEY_NOT_FOUND 40
#define SEALPOINT_E_KEY_VERSION_NOT_FOUND 41
#define SEALPOINT_E_KEY_DISABLED 42
#define SEALPOINT_E_ACCESS_DENIED 43
#define SEALPOINT_E_CREDENTIALS 44
#define SEALPOINT_E_KMS_UNAVAILABLE 45
#define SEALPOINT_E_KMS_THROTTLED 46
#define SEALPOINT_E_KMS_TIMEOUT 47
#define SEALPOINT_E_WRAPPED_KEY 48
#define SEALPOINT_E_KEYRING 49
#define SEALPOINT_E_OUTAGE 50
#define SEALPOINT_E_KEY_PENDING_DELETION 51
#define SEALPOINT_E_KEY_TOO_OLD 52
#define SEALPOINT_E_NOT_FOUND 60
#define SEALPOINT_E_STORE_DENIED 61
#define SEALPOINT_E_STORE_UNAVAILABLE 62
#define SEALPOINT_E_STORE_THROTTLED 63
#define SEALPOINT_E_STORE_FULL 64


/*
 The version of this interface. A program compares `sealpoint_abi_version()` with the value it was compiled against:
 the same number means that every function of the header exists and keeps its contract.
 */
#define SEALPOINT_ABI_VERSION 1

/*
 Success.
 */
#define SEALPOINT_OK 0

/*
 An engine: the configuration, the key service, the data keys and one thread. Any number of threads may use it.
 */
typedef struct sealpoint_engine sealpoint_engine;

/*
 One sealed file being opened. Threads that share an opener wait for each other.
 */
typedef struct sealpoint_opener sealpoint_opener;

/*
 One file being sealed. Threads that share a sealer wait for each other.
 */
typedef struct sealpoint_sealer sealpoint_sealer;

/*
 Reads up to `length` bytes at `offset` of a sealed file into `buffer`. Returns how many were read, 0 only at the end
 of the file, a negative number if reading failed.
 */
typedef int64_t (*sealpoint_read_at)(void *context, uint64_t offset, uint8_t *buffer, size_t length);

/*
 Reads up to `length` bytes at `offset` of the file `.sealpoint-keys` in the sealed file's directory (`up` is 0) or in
 that directory's parent (`up` is 1) into `buffer`. Returns how many were read, 0 at the end of the file or where there is
 no such file, a negative number if reading failed.
 */
typedef int64_t (*sealpoint_read_keys_at)(void *context,
                                          uint32_t up,
                                          uint64_t offset,
                                          uint8_t *buffer,
                                          size_t length);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/*
 The version of this interface, see `SEALPOINT_ABI_VERSION`.
 */
uint32_t sealpoint_abi_version(void);

/*
 The version of the library as text; it lives as long as the library.
 */
const char *sealpoint_version(void);

/*
 What went wrong in the last call that failed on this thread: what happened, to which file or key, and what to do.
 The text is valid until the next failing call on this thread; empty if none failed.
 */
const char *sealpoint_last_error(void);

/*
 Opens an engine from a configuration file in TOML, overridden by `SEALPOINT_*` of the environment. On success
 `*engine` must go to `sealpoint_engine_free`.

 The caller sees to it that:
 `path` is a NUL-terminated string; `engine` points to room for a pointer.
 */
uint32_t sealpoint_engine_open_file(const char *path,
                                    sealpoint_engine **engine);

/*
 Opens an engine from the text of a configuration in TOML, overridden by `SEALPOINT_*` of the environment. On success
 `*engine` must go to `sealpoint_engine_free`.

 The caller sees to it that:
 `toml` is a NUL-terminated string; `engine` points to room for a pointer.
 */
uint32_t sealpoint_engine_open_text(const char *toml,
                                    sealpoint_engine **engine);

/*
 From now on this process looks after the key-encryption keys, which one process of all that use them should: it
 rotates them by their age (`key-rotation.*` of the configuration), and refuses to seal under one that is too old and
 that it may not rotate. May be called any number of times.

 The caller sees to it that:
 `engine` came from `sealpoint_engine_open_*` and is not freed yet.
 */
uint32_t sealpoint_engine_coordinate(const sealpoint_engine *engine);

/*
 Wraps the data keys of sealed files anew, under the current versions of the configured keys, into the key files beside
 them: see `sealpoint rewrap` in docs/OPERATIONS.md. `uri` is a path or URI of a checkpoint, a savepoint, a directory above
 them, or one file; `to` is `primary` or the name of a fallback, null for all of them. With `dry_run` other than 0 nothing
 is written. `kms_rate` and `store_rate` are the most requests a second, 0 for as many as there are. `*report` gets
 `*report_length` bytes of JSON, to be given to `sealpoint_buffer_free`; `*failed` gets how many failures it lists: what
 fails keeps nothing else from being done, and is not an error of this function. Waits for the store and the key service.

 The caller sees to it that:
 `uri` is a NUL-terminated string, `to` one or null, the outputs point to room.
 */
uint32_t sealpoint_rewrap(const sealpoint_engine *engine,
                          const char *uri,
                          const char *to,
                          uint32_t dry_run,
                          uint32_t kms_rate,
                          uint32_t store_rate,
                          uint64_t *failed,
                          uint8_t **report,
                          size_t *report_length);

/*
 Frees an engine; null is allowed. Sealers and openers made from it stay usable.

 The caller sees to it that:
 `engine` came from `sealpoint_engine_open_*` and is not used any more.
 */
void sealpoint_engine_free(sealpoint_engine *engine);

/*
 Seals a whole buffer: `*sealed` gets a sealed file of `*sealed_length` bytes, to be given to
 `sealpoint_buffer_free`. `path` chooses the tenant by the longest configured prefix; "" is the default tenant.

 The caller sees to it that:
 `path` is a NUL-terminated string, `plaintext` points to `length` bytes (null if 0), the outputs to room.
 */
uint32_t sealpoint_encrypt(const sealpoint_engine *engine,
                           const char *path,
                           const uint8_t *plaintext,
                           size_t length,
                           uint8_t **sealed,
                           size_t *sealed_length);

/*
 Opens a whole sealed buffer: `*plaintext` gets `*plaintext_length` bytes, to be given to `sealpoint_buffer_free`.
 Nothing is given unless all of it verified.

 The caller sees to it that:
 `path` is a NUL-terminated string, `sealed` points to `length` bytes, the outputs to room.
 */
uint32_t sealpoint_decrypt(const sealpoint_engine *engine,
                           const char *path,
                           const uint8_t *sealed,
                           size_t length,
                           uint8_t **plaintext,
                           size_t *plaintext_length);

/*
 Wipes and frees a buffer that this library gave; null is allowed.

 The caller sees to it that:
 `buffer` and `length` came together from one call of this library, and are not used any more.
 */
void sealpoint_buffer_free(uint8_t *buffer, size_t length);

/*
 Begins to seal a file. `path` chooses the tenant; `subject` is the file's own name if it is to be bound to it (it can
 then only be opened under that name), or null. On success `*sealer` must go to `sealpoint_sealer_free`.

 The caller sees to it that:
 `path` is a NUL-terminated string, `subject` too or null; `sealer` points to room for a pointer.
 */
uint32_t sealpoint_sealer_open(const sealpoint_engine *engine,
                               const char *path,
                               const char *subject,
                               sealpoint_sealer **sealer);

/*
 The most bytes that one call of update, sync or finish writes after `length` more bytes of plaintext.

 The caller sees to it that:
 `sealer` is open; `bound` points to room.
 */
uint32_t sealpoint_sealer_bound(const sealpoint_sealer *sealer,
                                size_t length,
                                size_t *bound);

/*
 Takes `length` bytes of plaintext and writes the sealed bytes that they complete to `out`, which has room for
 `capacity` bytes: at least `sealpoint_sealer_bound` of `length`. Less than a chunk is held back.

 The caller sees to it that:
 `plaintext` points to `length` bytes (null if 0), `out` to `capacity` bytes, `written` to room; they do not overlap.
 */
uint32_t sealpoint_sealer_update(const sealpoint_sealer *sealer,
                                 const uint8_t *plaintext,
                                 size_t length,
                                 uint8_t *out,
                                 size_t capacity,
                                 size_t *written);

/*
 Writes what was held back as a short chunk, so that a reader gets all that was given so far. Costs some bytes in the
 file: meant for durability points, not for every write.

 The caller sees to it that:
 As `sealpoint_sealer_update`.
 */
uint32_t sealpoint_sealer_sync(const sealpoint_sealer *sealer,
                               uint8_t *out,
                               size_t capacity,
                               size_t *written);

/*
 Writes what was held back and the end of the file. A file without its end reads as truncated.

 The caller sees to it that:
 As `sealpoint_sealer_update`.
 */
uint32_t sealpoint_sealer_finish(const sealpoint_sealer *sealer,
                                 uint8_t *out,
                                 size_t capacity,
                                 size_t *written);

/*
 Frees a sealer, finished or not; null is allowed.

 The caller sees to it that:
 `sealer` came from `sealpoint_sealer_open` and is not used any more.
 */
void sealpoint_sealer_free(sealpoint_sealer *sealer);

/*
 Opens a sealed file that `read_at` reads. `path` chooses the tenant; `subject` is the name that the file must be
 bound to, or null to accept a file bound to any or none. On success `*opener` must go to `sealpoint_opener_free`.

 The caller sees to it that:
 `read_at` may be called with `context` by any thread that uses the opener, one at a time, until it is freed;
 `path` is a NUL-terminated string, `subject` too or null; `opener` points to room for a pointer.
 */
uint32_t sealpoint_opener_open(const sealpoint_engine *engine,
                               const char *path,
                               const char *subject,
                               sealpoint_read_at read_at,
                               void *context,
                               sealpoint_opener **opener);

/*
 As `sealpoint_opener_open`; where the key service no longer gives the data key for the file's own slots, it is looked
 for in the key files that `sealpoint rewrap` wrote beside the file, which `read_keys_at` reads.

 The caller sees to it that:
 As `sealpoint_opener_open`; `read_keys_at` is called with the same `context`, during this call only.
 */
uint32_t sealpoint_opener_open_beside(const sealpoint_engine *engine,
                                      const char *path,
                                      const char *subject,
                                      sealpoint_read_at read_at,
                                      sealpoint_read_keys_at read_keys_at,
                                      void *context,
                                      sealpoint_opener **opener);

/*
 Reads up to `capacity` bytes of verified plaintext into `buffer`; `*read` is 0 only at the verified end.

 The caller sees to it that:
 `opener` is open, `buffer` has room for `capacity` bytes, `read` points to room.
 */
uint32_t sealpoint_opener_read(const sealpoint_opener *opener,
                               uint8_t *buffer,
                               size_t capacity,
                               size_t *read);

/*
 Goes on at `offset` of the plaintext; nothing is read until the next read.

 The caller sees to it that:
 `opener` is open.
 */
uint32_t sealpoint_opener_seek(const sealpoint_opener *opener, uint64_t offset);

/*
 The plaintext length by the file's verified end, given the sealed file's own length in bytes.

 The caller sees to it that:
 `opener` is open; `length` points to room.
 */
uint32_t sealpoint_opener_length(const sealpoint_opener *opener,
                                 uint64_t file_length,
                                 uint64_t *length);

/*
 Frees an opener; null is allowed.

 The caller sees to it that:
 `opener` came from `sealpoint_opener_open` and is not used any more.
 */
void sealpoint_opener_free(sealpoint_opener *opener);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* SEALPOINT_H */
