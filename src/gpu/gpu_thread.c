/*
 * gpu_thread.c
 *	  The library, and the thread that calls it.
 *
 * What a device does cannot be interrupted.  So a thread calls the library, and the process's own waits for it, as long
 * as that may take.  The thread has no signals, and calls nothing of the server's; it reads shared memory, and no more.
 */
#include "postgres.h"

#include <dlfcn.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <unistd.h>

#include "miscadmin.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/pmsignal.h"
#include "storage/procsignal.h"

#include "gpu/gpu_private.h"

/* How long it may take at most to see that the server has ended. */
#define LOOK_MS 1000

const VdbGpuFunctions *vdb_gpu_functions_of_library;

/* A byte in `asks` has the thread call this, a byte in `ends` says that it has. */
static void (*function_to_call) (void *);
static void *argument;
static int	asks[2];
static int	ends[2];

static void *
run_thread(void *unused)
{
	char		byte;

	while (read(asks[0], &byte, 1) == 1)
	{
		function_to_call(argument);
		if (write(ends[1], &byte, 1) != 1)
			break;
	}
	return NULL;
}

/*
 * The last thing that the process does.  The thread may still be there, and what the library has to be called at exit waits
 * for a device that may not answer.
 */
static void
leave_at_once(int code, Datum unused)
{
	_exit(code);
}

static const char *
start_thread(void)
{
	pthread_t	thread;
	sigset_t	all;
	sigset_t	before;
	int			failure;

	if (pipe(asks) != 0 || pipe(ends) != 0)
		return psprintf("could not make a pipe: %m");
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	failure = pthread_create(&thread, NULL, run_thread, NULL);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	errno = failure;
	return failure == 0 ? NULL : psprintf("could not start a thread: %m");
}

const char *
vdb_gpu_thread_begin(void)
{
	char	   *path = vdb_gpu_library;
	void	   *library;
	VdbGpuGetFunctions get_functions;

	if (strchr(path, '/') == NULL)
		path = psprintf("%s/%s%s", pkglib_path, path, DLSUFFIX);
	on_proc_exit(leave_at_once, 0);
	library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (library == NULL)
		return pstrdup(dlerror());
	get_functions = (VdbGpuGetFunctions) dlsym(library, VDB_GPU_SYMBOL);
	if (get_functions == NULL)
		return pstrdup(dlerror());
	vdb_gpu_functions_of_library = get_functions(VDB_GPU_ABI);
	if (vdb_gpu_functions_of_library == NULL)
		return psprintf("%s: is of another version", path);
	return start_thread();
}

bool
vdb_gpu_thread_call(void (*function) (void *), void *arg, int timeout_ms)
{
	VdbMoment	end = vdb_clock_read() + timeout_ms * (VdbMoment) 1000;
	struct pollfd answer = {.fd = ends[0], .events = POLLIN};
	char		byte = 0;

	function_to_call = function;
	argument = arg;
	if (write(asks[1], &byte, 1) != 1)
		return false;
	for (;;)
	{
		VdbMoment	now = vdb_clock_read();

		/* a signal ends this early */
		if (poll(&answer, 1, (int) Min(Max(end - now, 0) / 1000 + 1, LOOK_MS)) == 1)
			return read(ends[0], &byte, 1) == 1;
		if (now >= end || ShutdownRequestPending || !PostmasterIsAlive())
			return false;

		/* others wait for that, as DROP DATABASE does */
		if (ProcSignalBarrierPending)
			ProcessProcSignalBarrier();
	}
}
