/* The interface between jobmgr and the executors that run its jobs, version 1.
 *
 * A library exports one symbol, jobmgr_executor_v1, which returns a table of functions that lives as long as the
 * library does. src/abi.rs says the same in Rust; a test compares the two. Nothing here ever changes its place or its
 * meaning; tables only grow at their ends.
 *
 * Rules for both sides:
 *  - what is passed in is borrowed until the call returns; copy what you keep
 *  - nothing that one side allocated is freed by the other
 *  - no exception, panic or longjmp leaves a function; nobody calls exit()
 *  - all functions may block; each job has a thread of its own
 */
#ifndef JOBMGR_EXECUTOR_H
#define JOBMGR_EXECUTOR_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#define JM_MAGIC UINT64_C(0x315852474d424f4a) /* the bytes of "JOBMGRX1" */
#define JM_ABI_MAJOR 1
#define JM_ABI_MINOR 0
#if defined(_WIN32)
#define JM_EXPORT __declspec(dllexport)
#else
#define JM_EXPORT __attribute__((visibility("default")))
#endif

/* Bytes that belong to somebody else; NULL is the empty string. Text is UTF-8, without a NUL at its end. */
typedef struct {
    const uint8_t *ptr;
    size_t len;
} jm_bytes;
#ifdef __cplusplus
#define JM_LIT(s) (jm_bytes{(const uint8_t *)(s), sizeof(s) - 1})
#else
#define JM_LIT(s) ((jm_bytes){(const uint8_t *)(s), sizeof(s) - 1})
#endif

/* What functions return. A value that is not here is JM_FAILED. */
enum {
    JM_OK = 0,
    JM_INVALID = 1,      /* the options, the command or the configuration are wrong: trying again does not help */
    JM_FAILED = 2,       /* the executor could not do it: trying again does not help */
    JM_RETRY = 3,        /* the executor could not do it now */
    JM_UNSUPPORTED = 4,  /* there is no such function or method */
    JM_STOPPED = 5,      /* the work ended because a stop was asked for */
    JM_PANICKED = 6,     /* a programming error was caught */
    JM_LOST = 7,         /* recover: the job can't be found any more */
    JM_NEVER_STARTED = 8, /* recover: the job has surely never begun; run may be called again */
    JM_UNKILLABLE = 9    /* a process of the job is still on this machine, whatever was done to end it */
};

/* Where output belongs. A value that is not here is JM_EXECUTOR. */
enum { JM_STDOUT = 1, JM_STDERR = 2, JM_EXECUTOR = 3 /* for who runs the executor, not for who runs the job */ };

/* Why a job has to end. A value that is not here is JM_STOP_CANCEL. */
enum {
    JM_STOP_NONE = 0,
    JM_STOP_CANCEL = 1,
    JM_STOP_DETACH = 2, /* jobmgr goes away: leave the job running where it is, and return JM_STOPPED */
    JM_STOP_TIMEOUT = 3
};

#define JM_CAP_RECOVER (UINT64_C(1) << 0)    /* recover is there; a restart of jobmgr does not end its jobs */
#define JM_CAP_CLEANUP (UINT64_C(1) << 1)    /* cleanup is there */
#define JM_CAP_CONCURRENT (UINT64_C(1) << 2) /* run and recover may be called for several jobs at once */

typedef struct jm_call jm_call;

/* What jobmgr does for an executor: from any thread, while the call that it belongs to has not returned. */
typedef struct {
    uint32_t struct_size; /* of the table that jobmgr has */
    uint16_t abi_major;
    uint16_t abi_minor;
    /* Gives the call's result, as JSON. The last one counts. */
    void (*reply)(jm_call *, jm_bytes json);
    /* Appends to a stream; time_ns is when it was written, since 1970, 0: now. Blocks while jobmgr is slower. */
    int32_t (*log)(jm_call *, uint32_t stream, uint64_t time_ns, jm_bytes data);
    /* {"progress": 0 to 100, "message": text} or {"warning": text}; may be merged with later ones. */
    int32_t (*event)(jm_call *, jm_bytes json);
    /* Keeps a handle for recover, at most 64 KiB; returns JM_OK once it is on disk. The last one counts. */
    int32_t (*checkpoint)(jm_call *, jm_bytes handle);
    /* Waits for a stop, at most timeout_ms; one of JM_STOP_*. */
    uint32_t (*wait_stop)(jm_call *, uint64_t timeout_ms);
    /* Has f called, once, on a thread of jobmgr, when a stop is asked for, or at once where it was. The last one
     * counts; NULL takes it back, and returns only when f is not running. */
    void (*on_stop)(jm_call *, void (*f)(void *user, uint32_t stop), void *user);
    /* Asks for anything else ("artifact.put", ...); the answer comes through on_reply before this returns. */
    int32_t (*request)(jm_call *, jm_bytes method, jm_bytes json, void (*on_reply)(void *user, jm_bytes json),
                       void *user);
} jm_host;

/* One call into the library. What follows the pointer is jobmgr's own. */
struct jm_call {
    const jm_host *host;
};

/* Whether jobmgr has a field that came after minor 0. */
#define JM_HOST_HAS(h, field) \
    ((h)->struct_size >= offsetof(jm_host, field) + sizeof((h)->field) && (h)->field)

/* What an executor is. */
typedef struct {
    uint64_t magic;
    uint32_t struct_size; /* of the table that the library was compiled with */
    uint16_t abi_major;
    uint16_t abi_minor;
    uint16_t min_host_minor; /* the oldest jobmgr that it can work with */
    uint16_t reserved0;
    uint32_t reserved1;
    uint64_t capabilities;
    /* Replies {"name", "version", "options_schema", "config_schema"}. */
    int32_t (*describe)(jm_call *);
    /* Makes an instance from [Executors.NAME.Config]; for an error it replies {"error": text}, like all below. */
    int32_t (*create)(jm_call *, jm_bytes config, void **instance);
    void (*destroy)(void *instance);
    /* Checks a jobspec's [Options] beyond the schema; no side effects, no network. */
    int32_t (*validate)(void *instance, jm_call *, jm_bytes options);
    /* Runs a job to its end and replies how it ended: {"ending": {"exited": 0}}. */
    int32_t (*run)(void *instance, jm_call *, jm_bytes job);
    /* Goes on with a job that an earlier process has begun; no handle: it ended before its first checkpoint. */
    int32_t (*recover)(void *instance, jm_call *, jm_bytes job, jm_bytes handle);
    /* Removes what a job left behind. May be called twice. */
    int32_t (*cleanup)(void *instance, jm_call *, jm_bytes job, jm_bytes handle);
} jm_plugin;

/* The first fields of a jm_plugin. */
#define JM_PLUGIN_HEAD JM_MAGIC, sizeof(jm_plugin), JM_ABI_MAJOR, JM_ABI_MINOR, 0, 0, 0

JM_EXPORT const jm_plugin *jobmgr_executor_v1(void);

#ifdef __cplusplus
}
#endif
#endif
