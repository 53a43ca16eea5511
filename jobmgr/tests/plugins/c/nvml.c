/* Two GPUs for machines without any: what NVIDIA's library would say of them. */
#include <stdio.h>
#include <string.h>

#define SHOWN __attribute__((visibility("default")))

typedef struct {
    unsigned version;
    unsigned long long total, reserved, free, used;
} memory;

static int gpus[2] = {0, 1};

SHOWN int nvmlInit_v2(void) { return 0; }
SHOWN int nvmlShutdown(void) { return 0; }
SHOWN const char *nvmlErrorString(int code) { (void)code; return "failed"; }

SHOWN int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = 2;
    return 0;
}

SHOWN int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    if (index > 1) return 2;
    *device = &gpus[index];
    return 0;
}

SHOWN int nvmlDeviceGetUUID(void *device, char *uuid, unsigned length) {
    snprintf(uuid, length, "GPU-%d", *(int *)device);
    return 0;
}

SHOWN int nvmlDeviceGetName(void *device, char *name, unsigned length) {
    snprintf(name, length, "Model %d", *(int *)device);
    return 0;
}

SHOWN int nvmlDeviceGetMemoryInfo_v2(void *device, memory *info) {
    /* The second one does not say. */
    if (*(int *)device == 1) return 3;
    info->total = 8ULL << 30;
    return 0;
}
