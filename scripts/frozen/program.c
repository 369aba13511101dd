/* The program that scripts/binary makes: CPython, linked in, and every module, in the program's own memory.

   What it imports is not read from a file: the program can be replaced while it runs, and a process of it that became
   somebody else needs no right to read it. `parts.h`, which freeze.py writes, says what lies where in `parts`. */

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <errno.h>
#include <limits.h>
#include <nss.h>
#include <sys/auxv.h>
#include <sys/syscall.h>

__asm__(".section .rodata\n"
        ".balign 16\n"
        ".global parts\n"
        "parts:\n"
        ".incbin \"parts.bin\"\n"
        ".previous\n");
extern const unsigned char parts[];

#include "parts.h" /* INDEX, INDEX_SIZE, FROZEN */

static struct _frozen frozen[] = {FROZEN{0}};

/* part(offset, size): the bytes there, not copied. */
static PyObject *part(PyObject *self, PyObject *arguments)
{
    Py_ssize_t offset, size;
    if (!PyArg_ParseTuple(arguments, "nn", &offset, &size))
        return NULL;
    if (offset < 0 || size < 0 || offset > PARTS_SIZE - size)
        return PyErr_Format(PyExc_ValueError, "no part of the program");
    return PyMemoryView_FromMemory((char *)parts + offset, size, PyBUF_READ);
}

/* syscall(number, *arguments): its result, or the negative errno. Arguments are integers, bytes, and writable buffers. */
static PyObject *call(PyObject *self, PyObject *const *arguments, Py_ssize_t count)
{
    long numbers[7] = {0};
    Py_buffer buffers[7];
    int held = 0;
    long result;
    if (count < 1 || count > 7)
        return PyErr_Format(PyExc_TypeError, "a number and up to 6 arguments");
    for (Py_ssize_t at = 0; at < count; at++) {
        if (PyLong_Check(arguments[at])) {
            numbers[at] = (long)PyLong_AsUnsignedLongMask(arguments[at]);
        } else if (!PyObject_GetBuffer(arguments[at], &buffers[held], PyBUF_SIMPLE)) {
            numbers[at] = (long)buffers[held++].buf;
        }
        if (PyErr_Occurred())
            goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    result = syscall(numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6]);
    if (result == -1)
        result = -errno;
    Py_END_ALLOW_THREADS
done:
    while (held)
        PyBuffer_Release(&buffers[--held]);
    return PyErr_Occurred() ? NULL : PyLong_FromLong(result);
}

static PyMethodDef methods[] = {
    {"part", part, METH_VARARGS, NULL},
    {"syscall", (PyCFunction)(void (*)(void))call, METH_FASTCALL, NULL},
    {NULL},
};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "_program", NULL, -1, methods};

static PyObject *module(void)
{
    PyObject *made = PyModule_Create(&definition);
    if (made && (PyModule_AddIntConstant(made, "INDEX", INDEX) || PyModule_AddIntConstant(made, "INDEX_SIZE", INDEX_SIZE)))
        Py_CLEAR(made);
    return made;
}

/* The path that the kernel was given, made absolute: neither /proc nor argv[0] is needed for it, and a symbolic link
   stays what it is. */
static const char *ourselves(void)
{
    static char path[2 * PATH_MAX];
    const char *given = (const char *)getauxval(AT_EXECFN);
    if (!given)
        return "eggcache";
    if (*given == '/' || !getcwd(path, PATH_MAX))
        return given;
    while (!strncmp(given, "./", 2))
        given += 2;
    snprintf(path + strlen(path), PATH_MAX, "/%s", given);
    return path;
}

static void check(PyStatus status)
{
    if (PyStatus_Exception(status))
        Py_ExitStatusException(status);
}

int main(int count, char **words)
{
    PyPreConfig before;
    PyConfig config;
    const char *path = ourselves();

    /* Another source of accounts than the files is a library of the host's, and it may be of an older libc than ours. */
    __nss_configure_lookup("passwd", "files");
    __nss_configure_lookup("group", "files");
    __nss_configure_lookup("initgroups", "files");

    PyImport_FrozenModules = frozen;
    PyImport_AppendInittab("_program", module);

    PyPreConfig_InitIsolatedConfig(&before);
    before.utf8_mode = 1;
    check(Py_PreInitialize(&before));

    PyConfig_InitIsolatedConfig(&config);
    config.install_signal_handlers = 1;
    config.site_import = 0;
    config.write_bytecode = 0;
    config.module_search_paths_set = 1;
    check(PyConfig_SetBytesString(&config, &config.program_name, path));
    check(PyConfig_SetBytesString(&config, &config.executable, path));
    check(PyConfig_SetBytesString(&config, &config.base_executable, path));
    check(PyConfig_SetString(&config, &config.prefix, L""));
    check(PyConfig_SetString(&config, &config.base_prefix, L""));
    check(PyConfig_SetString(&config, &config.exec_prefix, L""));
    check(PyConfig_SetString(&config, &config.base_exec_prefix, L""));
    check(PyConfig_SetString(&config, &config.stdlib_dir, L""));
    check(PyConfig_SetBytesArgv(&config, count, words));
    check(Py_InitializeFromConfig(&config));
    PyConfig_Clear(&config);

    if (PyImport_ImportFrozenModule("_start") != 1)
        PyErr_Print();
    return 1; /* _start ends the process itself */
}
