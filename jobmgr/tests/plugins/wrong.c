/* An executor that keeps to all that executors have to keep to, and breaks one rule where it is compiled with
 * -DWRONG_...; for the tests of `jobmgr plugin check`.
 *
 * Its jobs run in a system that needs no process: a job that was begun at a time has printed so many lines by now, and
 * has ended after the last one. When it began is in a file of the job's directory. */
#define _GNU_SOURCE
#include "jobmgr_executor.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { LINES = 15, LINE_MS = 100, WIDTH = 8 };

static int32_t say(jm_call *call, int32_t status, const char *json) {
    call->host->reply(call, (jm_bytes){(const uint8_t *)json, strlen(json)});
    return status;
}

/* What stands behind `before` in JSON, up to the next quotation mark or comma. */
static void find(jm_bytes json, const char *before, char *to, size_t room) {
    const char *end = (const char *)json.ptr + json.len;
    const char *from = memmem(json.ptr, json.len, before, strlen(before));
    size_t length = 0;
    for (from = from ? from + strlen(before) : end; from < end && !strchr("\",}", *from) && length + 1 < room; from++)
        to[length++] = *from;
    to[length] = 0;
}

struct job {
    char key[80], dir[512], begun[640];
    size_t logged;
};

static struct job read_job(jm_bytes json) {
    struct job job;
    char logged[32];
    find(json, "\"key\":\"", job.key, sizeof job.key);
    find(json, "\"dir\":\"", job.dir, sizeof job.dir);
    find(json, "\"logged\":[{\"bytes\":", logged, sizeof logged);
    job.logged = (size_t)atol(logged);
    snprintf(job.begun, sizeof job.begun, "%s/begun", job.dir);
    return job;
}

static long long now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

static void begin(const struct job *job) {
    FILE *file = fopen(job->begun, "w");
    if (!file) return;
    fprintf(file, "%lld\n", now());
    fclose(file);
}

/* When it began; 0: it did not. */
static long long begun(const struct job *job) {
    long long time = 0;
    FILE *file = fopen(job->begun, "r");
    if (!file) return 0;
    if (fscanf(file, "%lld", &time) != 1) time = 0;
    fclose(file);
    return time;
}

static int32_t follow(jm_call *call, const struct job *job, size_t from) {
    long long since = begun(job);
    for (;;) {
        size_t due = (size_t)((now() - since) / LINE_MS);
        if (due > LINES) due = LINES;
        for (; from < due * WIDTH; from += WIDTH - from % WIDTH) {
            char line[WIDTH + 1];
#ifdef WRONG_JOB
            snprintf(line, sizeof line, "%07u\n", (unsigned)getpid() % 10000000);
#else
            snprintf(line, sizeof line, "line %02zu\n", from / WIDTH % 100);
#endif
            size_t at = from % WIDTH;
            if (call->host->log(call, JM_STDOUT, 0, (jm_bytes){(const uint8_t *)line + at, WIDTH - at}))
                return say(call, JM_FAILED, "{\"error\":\"jobmgr is gone\"}");
        }
        if (due == LINES)
#ifdef WRONG_OUTCOME
            return say(call, JM_OK, "{\"end\":\"good\"}");
#else
            return say(call, JM_OK, "{\"ending\":{\"exited\":0}}");
#endif
        uint32_t stop = call->host->wait_stop(call, 10);
#ifdef WRONG_DEAF
        stop = JM_STOP_NONE;
        since = now(); /* and it never ends */
        if (from) continue;
#endif
#ifndef WRONG_DETACH
        if (stop == JM_STOP_DETACH) return say(call, JM_STOPPED, "{\"error\":\"stopped\"}");
#endif
        if (stop != JM_STOP_NONE) {
#ifdef WRONG_LEAVES
            if (system("sleep 600 & :")) return JM_FAILED;
#endif
            remove(job->begun);
            return say(call, JM_OK, "{\"ending\":{\"killed\":\"cancelled\"}}");
        }
    }
}

static int32_t describe(jm_call *call) {
    char json[512];
    const char *name = "wrong";
#ifdef WRONG_NAME
    name = "Wrong Name";
#endif
#ifdef WRONG_WORDS
    snprintf(json, sizeof json, "{\"name\":\"%s\",\"version\":\"1.%d\",", name, getpid());
#else
    snprintf(json, sizeof json, "{\"name\":\"%s\",\"version\":\"1.0\",", name);
#endif
#ifdef WRONG_SCHEMA
    strcat(json, "\"options_schema\":{\"type\":\"table\"},\"config_schema\":{}}");
#else
    strcat(json, "\"options_schema\":{\"type\":\"object\",\"properties\":{\"Any\":{}}},\"config_schema\":{}}");
#endif
    return say(call, JM_OK, json);
}

static int32_t create(jm_call *call, jm_bytes config, void **instance) {
    (void)call, (void)config;
    *instance = NULL;
    return JM_OK;
}

static int32_t validate(void *instance, jm_call *call, jm_bytes options) {
    (void)instance, (void)call, (void)options;
#ifdef WRONG_LEAK
    static void *volatile kept;
    kept = memset(malloc(16 << 10), 1, 16 << 10);
#endif
#ifdef WRONG_CRASH
    if (options.len > 1 << 20) abort();
#endif
#ifndef WRONG_TAKES
    if (!options.len || options.ptr[0] != '{') return say(call, JM_INVALID, "{\"error\":\"no object\"}");
#endif
#ifdef WRONG_OLD
    if (!JM_HOST_HAS(call->host, request) || call->host->abi_minor > JM_ABI_MINOR) abort();
#endif
    return JM_OK;
}

static int32_t run(void *instance, jm_call *call, jm_bytes json) {
    (void)instance;
    struct job job = read_job(json);
#ifdef WRONG_EIGHT
    static int running;
    if (__sync_fetch_and_add(&running, 1)) return say(call, JM_FAILED, "{\"error\":\"another job runs\"}");
#endif
    begin(&job);
    if (call->host->checkpoint(call, (jm_bytes){(const uint8_t *)job.key, strlen(job.key)}))
        return say(call, JM_FAILED, "{\"error\":\"no checkpoint\"}");
    return follow(call, &job, 0);
}

static int32_t recover(void *instance, jm_call *call, jm_bytes json, jm_bytes handle) {
    (void)instance, (void)handle;
    struct job job = read_job(json);
#ifndef WRONG_FOREIGN
    if (handle.ptr && (handle.len != strlen(job.key) || memcmp(handle.ptr, job.key, handle.len)))
        return say(call, JM_LOST, "{\"error\":\"that is no handle of this job\"}");
#endif
#ifdef WRONG_KEY
    if (!handle.ptr) return say(call, JM_LOST, "{\"error\":\"what job?\"}");
#endif
    if (!begun(&job)) return say(call, JM_NEVER_STARTED, "{\"error\":\"never started\"}");
#ifdef WRONG_TWICE
    if (handle.ptr) job.logged = 0;
#endif
    return follow(call, &job, job.logged);
}

static int32_t cleanup(void *instance, jm_call *call, jm_bytes json, jm_bytes handle) {
    (void)instance, (void)handle;
    struct job job = read_job(json);
#ifdef WRONG_CLEANUP
    if (remove(job.begun)) return say(call, JM_FAILED, "{\"error\":\"it is gone already\"}");
#else
    (void)call;
    remove(job.begun);
#endif
    return JM_OK;
}

#ifdef WRONG_PRINTS
__attribute__((constructor)) static void print(void) { puts("loaded"); }
#endif
#ifdef WRONG_SLOW
__attribute__((constructor)) static void wait(void) { usleep(400000); }
#endif
#ifdef WRONG_THREAD
static void *sleeps(void *none) {
    sleep(600);
    return none;
}
__attribute__((constructor)) static void thread(void) {
    pthread_t thread;
    pthread_create(&thread, NULL, sleeps, NULL);
}
#endif
#ifdef WRONG_EXPORT
int handy_function(void);
JM_EXPORT int handy_function(void) { return 1; }
#endif

static const jm_plugin table = {
#ifdef WRONG_MAGIC
    .magic = 1,
    .struct_size = sizeof(jm_plugin),
#else
    JM_PLUGIN_HEAD,
#endif
#ifdef WRONG_ALONE
    .capabilities = 0,
#else
    .capabilities = JM_CAP_RECOVER | JM_CAP_CLEANUP | JM_CAP_CONCURRENT,
#endif
    .describe = describe,
    .create = create,
    .validate = validate,
    .run = run,
    .recover = recover,
    .cleanup = cleanup,
};

JM_EXPORT const jm_plugin *jobmgr_executor_v1(void) { return &table; }
