/* An executor in C, whole: it has /bin/sh run the job's command line.
 *
 * It shows the interface; README.md says how to build it. A larger one would use a JSON library (yyjson, cJSON) in
 * place of the few lines here that look for one key. */
#define _GNU_SOURCE
#include "jobmgr_executor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* How often a stop is looked for, in milliseconds. */
#define LOOK 20

static int32_t fail(jm_call *call, int32_t status, const char *what) {
    char json[256];
    int length = snprintf(json, sizeof json, "{\"error\":\"%s\"}", what);
    call->host->reply(call, (jm_bytes){(const uint8_t *)json, (size_t)length});
    return status;
}

/* The text of the option Script, without its escapes (but \uXXXX); NULL where there is none. jobmgr writes JSON without
 * blanks, and no text in it can have a bare quotation mark. */
static char *script_of(jm_bytes job) {
    static const char before[] = "\"options\":{", name[] = "\"Script\":\"";
    const char *end = (const char *)job.ptr + job.len, *from = memmem(job.ptr, job.len, before, sizeof before - 1);
    from = from ? memmem(from, (size_t)(end - from), name, sizeof name - 1) : NULL;
    char *text = from ? malloc(job.len + 1) : NULL, *to = text;
    if (!text) return NULL;
    for (from += sizeof name - 1; from < end && *from != '"'; from++) {
        if (*from == '\\' && from + 1 < end) {
            from++;
            *to++ = *from == 'n' ? '\n' : *from == 't' ? '\t' : *from;
        } else {
            *to++ = *from;
        }
    }
    *to = 0;
    return text;
}

static int32_t describe(jm_call *call) {
    call->host->reply(call, JM_LIT("{\"name\":\"shell\",\"version\":\"1.0\","
                                   "\"options_schema\":{\"type\":\"object\",\"additionalProperties\":false,"
                                   "\"required\":[\"Script\"],\"properties\":{\"Script\":{\"type\":\"string\","
                                   "\"description\":\"What the shell runs.\"}}},"
                                   "\"config_schema\":{\"type\":\"object\",\"additionalProperties\":false}}"));
    return JM_OK;
}

static int32_t create(jm_call *call, jm_bytes config, void **instance) {
    (void)call, (void)config;
    *instance = NULL; /* nothing is kept from job to job */
    return JM_OK;
}

/* jobmgr has looked at the schema already; this is what a schema can't say. */
static int32_t validate(void *instance, jm_call *call, jm_bytes options) {
    (void)instance;
    if (options.len == 0 || options.ptr[0] != '{') return fail(call, JM_INVALID, "the options must be an object");
    return JM_OK;
}

/* Passes on what the script prints until its end; 0, or a stop. */
static uint32_t follow(jm_call *call, int output) {
    char data[4096];
    struct pollfd ready = {.fd = output, .events = POLLIN};
    for (;;) {
        uint32_t stop = call->host->wait_stop(call, 0);
        if (stop != JM_STOP_NONE) return stop;
        if (poll(&ready, 1, LOOK) <= 0) continue;
        ssize_t count = read(output, data, sizeof data);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return JM_STOP_NONE;
        if (call->host->log(call, JM_STDOUT, 0, (jm_bytes){(const uint8_t *)data, (size_t)count}) != JM_OK)
            return JM_STOP_CANCEL; /* jobmgr is gone */
    }
}

static int32_t run(void *instance, jm_call *call, jm_bytes job) {
    (void)instance;
    char *script = script_of(job);
    if (!script) return fail(call, JM_INVALID, "Options.Script is missing");
    int output[2];
    pid_t child = pipe(output) == 0 ? fork() : -1;
    if (child < 0) {
        free(script);
        return fail(call, JM_RETRY, "no process can be started now");
    }
    if (child == 0) {
        /* Between fork and exec nothing but plain system calls. A group of its own can be ended as a whole. */
        setpgid(0, 0);
        dup2(output[1], STDOUT_FILENO);
        dup2(output[1], STDERR_FILENO);
        close(output[0]);
        close(output[1]);
        signal(SIGPIPE, SIG_DFL); /* jobmgr ignores it */
        execl("/bin/sh", "sh", "-c", script, (char *)NULL);
        _exit(127);
    }
    free(script);
    close(output[1]);
    uint32_t stop = follow(call, output[0]);
    if (stop != JM_STOP_NONE) kill(-child, SIGKILL);
    close(output[0]);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    char json[64];
    int length;
    if (stop == JM_STOP_TIMEOUT) length = snprintf(json, sizeof json, "{\"ending\":{\"killed\":\"timeout\"}}");
    else if (stop != JM_STOP_NONE) length = snprintf(json, sizeof json, "{\"ending\":{\"killed\":\"cancelled\"}}");
    else if (WIFSIGNALED(status)) length = snprintf(json, sizeof json, "{\"ending\":{\"signaled\":%d}}", WTERMSIG(status));
    else length = snprintf(json, sizeof json, "{\"ending\":{\"exited\":%d}}", WEXITSTATUS(status));
    call->host->reply(call, (jm_bytes){(const uint8_t *)json, (size_t)length});
    return JM_OK;
}

static const jm_plugin table = {JM_PLUGIN_HEAD, .describe = describe, .create = create, .validate = validate, .run = run};

JM_EXPORT const jm_plugin *jobmgr_executor_v1(void) { return &table; }
