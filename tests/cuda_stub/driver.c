/* The few functions of the driver's own library that must answer; `build.py` adds the rest, which do nothing. */
int cuDriverGetVersion(int *version) { return *version = 13000, 0; }
int cuDeviceGetCount(int *count) { return *count = 1, 0; }
int cuDeviceGet(int *device, int ordinal) { return *device = ordinal, 0; }
int cuDevicePrimaryCtxGetState(int device, unsigned *flags, int *active) { return *flags = 0, *active = 1, 0; }
int cuCtxGetCurrent(void **context) { return *context = (void *)0x1000, 0; }
int cuGetErrorString(int error, const char **text) { return *text = "stub", 0; }
int cuDeviceGetAttribute(int *value, int attribute, int device) { return *value = 0; }
int cuGetProcAddress_v2(void) { return 500; } /* not found: the caller does without */
