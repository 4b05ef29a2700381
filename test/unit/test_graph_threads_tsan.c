/*
 * test_graph_threads_tsan.c
 *	  test_graph_threads.c under ThreadSanitizer, which goes with none of the
 *	  others: see the Makefile.
 */
#include "test_graph_threads.c"
