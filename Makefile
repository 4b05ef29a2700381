# vdb: vector search for PostgreSQL.  PGXS does the work; this file lists what
# there is to build and to test.
#
#   make                  build vdb.so
#   make install          put it where the server looks
#   make test             every test there is; KIND=... ONLY=... JOBS=... narrow it
#   make soak             the long ones: hours of crashes, churn and damage; SHARE=0.01
#   make unit             only the C programs that need no server
#   make bench            figures beside pgvector, hnswlib and FAISS: a table and plots
#   make bench-programs   the C programs that measure, in bench/build
#   make demo             a private server with 12,000 word vectors; make demo-stop
#   make install-pgvector-alias      have CREATE EXTENSION vector mean vdb
#   make uninstall-pgvector-alias
#
# PG_CONFIG=/path/to/pg_config chooses the server.

MODULE_big = vdb
EXTENSION  = vdb
DATA       = $(wildcard sql/vdb--*.sql)
PGFILEDESC = "vdb - vector search"

OBJS = \
	src/compute/compute.o \
	src/compute/compute_blas.o \
	src/compute/compute_cpu.o \
	src/compute/compute_fault.o \
	src/distance/distance_avx2.o \
	src/distance/distance_avx512.o \
	src/distance/distance_dispatch.o \
	src/distance/distance_neon.o \
	src/distance/distance_scalar.o \
	src/exec/exec_ahead.o \
	src/exec/exec_batch.o \
	src/exec/exec_batch_mirror.o \
	src/exec/exec_bitmap.o \
	src/exec/exec_block.o \
	src/exec/exec_bound.o \
	src/exec/exec_mirror.o \
	src/exec/exec_nearest.o \
	src/exec/exec_path.o \
	src/exec/exec_ranked.o \
	src/exec/exec_readahead.o \
	src/exec/exec_scan.o \
	src/gpu/gpu.o \
	src/gpu/gpu_check.o \
	src/gpu/gpu_client.o \
	src/gpu/gpu_copy.o \
	src/gpu/gpu_finder.o \
	src/gpu/gpu_server.o \
	src/gpu/gpu_set.o \
	src/gpu/gpu_shared.o \
	src/gpu/gpu_thread.o \
	src/hnsw/hnsw.o \
	src/hnsw/hnsw_batch.o \
	src/hnsw/hnsw_build.o \
	src/hnsw/hnsw_calibrate.o \
	src/hnsw/hnsw_check.o \
	src/hnsw/hnsw_check_heap.o \
	src/hnsw/hnsw_check_postings.o \
	src/hnsw/hnsw_codes.o \
	src/hnsw/hnsw_cost.o \
	src/hnsw/hnsw_edge.o \
	src/hnsw/hnsw_effort.o \
	src/hnsw/hnsw_equal.o \
	src/hnsw/hnsw_fill.o \
	src/hnsw/hnsw_graph.o \
	src/hnsw/hnsw_inbound.o \
	src/hnsw/hnsw_index.o \
	src/hnsw/hnsw_insert.o \
	src/hnsw/hnsw_length.o \
	src/hnsw/hnsw_link.o \
	src/hnsw/hnsw_merge.o \
	src/hnsw/hnsw_page.o \
	src/hnsw/hnsw_parallel.o \
	src/hnsw/hnsw_partition.o \
	src/hnsw/hnsw_pending.o \
	src/hnsw/hnsw_place.o \
	src/hnsw/hnsw_postings.o \
	src/hnsw/hnsw_prewarm.o \
	src/hnsw/hnsw_release.o \
	src/hnsw/hnsw_repair.o \
	src/hnsw/hnsw_sample.o \
	src/hnsw/hnsw_scan.o \
	src/hnsw/hnsw_search.o \
	src/hnsw/hnsw_search_filter.o \
	src/hnsw/hnsw_slot.o \
	src/hnsw/hnsw_spill.o \
	src/hnsw/hnsw_sweep.o \
	src/hnsw/hnsw_tie.o \
	src/hnsw/hnsw_tree.o \
	src/hnsw/hnsw_upkeep.o \
	src/hnsw/hnsw_vacuum.o \
	src/hnsw/hnsw_write.o \
	src/index/index_attribute.o \
	src/index/index_calibrate.o \
	src/index/index_check.o \
	src/index/index_condition.o \
	src/index/index_cost.o \
	src/index/index_exact.o \
	src/index/index_explain.o \
	src/index/index_filter.o \
	src/index/index_known.o \
	src/index/index_method.o \
	src/index/index_named.o \
	src/index/index_opclass.o \
	src/index/index_order.o \
	src/index/index_owner.o \
	src/index/index_parallel.o \
	src/index/index_plan.o \
	src/index/index_prewarm.o \
	src/index/index_range.o \
	src/index/index_recall.o \
	src/index/index_sample.o \
	src/index/index_support.o \
	src/index/index_target.o \
	src/index/index_validate.o \
	src/ingest/ingest.o \
	src/ingest/ingest_apply.o \
	src/ingest/ingest_capture.o \
	src/ingest/ingest_check.o \
	src/ingest/ingest_command.o \
	src/ingest/ingest_decode.o \
	src/ingest/ingest_embed.o \
	src/ingest/ingest_embed_worker.o \
	src/ingest/ingest_failure.o \
	src/ingest/ingest_lease.o \
	src/ingest/ingest_pipeline.o \
	src/ingest/ingest_plugin.o \
	src/ingest/ingest_plugin_binary.o \
	src/ingest/ingest_plugin_json.o \
	src/ingest/ingest_plugin_options.o \
	src/ingest/ingest_queue.o \
	src/ingest/ingest_resolve.o \
	src/ingest/ingest_shared.o \
	src/ingest/ingest_statement.o \
	src/ingest/ingest_version.o \
	src/ivf/ivf.o \
	src/ivf/ivf_build.o \
	src/ivf/ivf_calibrate.o \
	src/ivf/ivf_check.o \
	src/ivf/ivf_code.o \
	src/ivf/ivf_codebook.o \
	src/ivf/ivf_cost.o \
	src/ivf/ivf_effort.o \
	src/ivf/ivf_group.o \
	src/ivf/ivf_index.o \
	src/ivf/ivf_insert.o \
	src/ivf/ivf_layout.o \
	src/ivf/ivf_lists.o \
	src/ivf/ivf_load.o \
	src/ivf/ivf_nearest.o \
	src/ivf/ivf_prewarm.o \
	src/ivf/ivf_rank.o \
	src/ivf/ivf_record.o \
	src/ivf/ivf_scan.o \
	src/ivf/ivf_spill.o \
	src/ivf/ivf_train.o \
	src/ivf/ivf_upkeep.o \
	src/ivf/ivf_vacuum.o \
	src/ivf/ivf_value.o \
	src/ivf/ivf_write.o \
	src/mirror/mirror.o \
	src/mirror/mirror_code.o \
	src/mirror/mirror_device.o \
	src/mirror/mirror_load.o \
	src/mirror/mirror_search.o \
	src/mirror/mirror_shared.o \
	src/mirror/mirror_write.o \
	src/pace.o \
	src/quant/cluster.o \
	src/quant/codebook.o \
	src/quant/codec.o \
	src/quant/codec_binary.o \
	src/quant/codec_dense.o \
	src/quant/codec_sparse.o \
	src/quant/finder.o \
	src/quant/opq.o \
	src/quant/panel.o \
	src/quant/rotate.o \
	src/quant/scan.o \
	src/shmem.o \
	src/stats/stats_scan.o \
	src/stats/stats_show.o \
	src/stats/stats_table.o \
	src/storage/storage_hints.o \
	src/storage/storage_page.o \
	src/storage/storage_patch.o \
	src/storage/storage_toast.o \
	src/storage/storage_wal.o \
	src/testpoint.o \
	src/types/bit.o \
	src/types/dense.o \
	src/types/dense_agg.o \
	src/types/dense_cast.o \
	src/types/dense_distance.o \
	src/types/halfvec.o \
	src/types/number_array.o \
	src/types/sparsevec.o \
	src/types/sparsevec_agg.o \
	src/types/sparsevec_cast.o \
	src/types/sparsevec_distance.o \
	src/types/sparsevec_parse.o \
	src/types/vector.o \
	src/types/vector_parse.o \
	src/vdb.o \
	src/worker/worker.o \
	src/worker/worker_index.o \
	src/worker/worker_launcher.o \
	src/worker/worker_main.o \
	src/worker/worker_maintain.o \
	src/worker/worker_shared.o \
	src/worker/worker_statement.o \
	src/worker/worker_watch.o

TESTS     = $(sort $(wildcard test/sql/*.sql))
REGRESS   = $(TESTS:test/sql/%.sql=%)
ISOLATION = $(patsubst test/isolation/specs/%.spec,%,$(sort $(wildcard test/isolation/specs/*.spec)))
TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl

REGRESS_OPTS   = --inputdir=test --load-extension=vdb
ISOLATION_OPTS = --inputdir=test/isolation --load-extension=vdb

# The server's headers do not pass these two.
WARNINGS = -Wall -Wextra -Wno-unused-parameter -Wno-sign-compare

# Codes are to be the same on every processor: no a * b + c becomes one rounding
# where the compiler finds an instruction for it.  Kernels that want one say so.
FLOATS = -ffp-contract=off

# Distributions build the server without --enable-depend, so PGXS would never
# rebuild anything after a change to a header: the compiler writes the rules.
override PG_CPPFLAGS += -I$(srcdir)/src -I$(srcdir)
override PG_CFLAGS   += $(WARNINGS) $(FLOATS) -MMD -MP

# Each search prepares its query here, in loops that a compiler can vectorise.
src/quant/cluster.o src/quant/codebook.o src/quant/codec_dense.o src/quant/opq.o src/quant/rotate.o src/quant/scan.o: override CFLAGS += -O3
src/mirror/mirror_code.o: override CFLAGS += -O3 -fno-math-errno

# A server loads extensions into one name space: export what it calls by name.
override SHLIB_LINK  += -Wl,--version-script=$(srcdir)/src/vdb.map

EXTRA_CLEAN = $(OBJS:.o=.d) $(UNIT_DIR) bench/build gpu/vdb_gpu.so test/gpu/test_gpu.so $(ALIAS_DIR) tmp_check

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs 2>/dev/null)

.DEFAULT_GOAL := all

ifneq ($(and $(wildcard $(PGXS)),$(wildcard $(shell $(PG_CONFIG) --includedir-server 2>/dev/null)/postgres.h)),)

include $(PGXS)

vdb$(DLSUFFIX): src/vdb.map

# The same for bitcode: an object whose header changed takes its bitcode along.
# The flags for floats are not among those that it gets from PGXS.
BITCODE_CFLAGS += $(FLOATS)
$(OBJS:.o=.bc): %.bc: %.o

-include $(OBJS:.o=.d)

# From 16 on the answers of isolation tests have an option of their own.
ifeq ($(filter 15,$(MAJORVERSION)),)
ISOLATION_OPTS += --expecteddir=test/isolation
endif

# --- the library for a device -----------------------------------------------
#
# Built where nvcc is; nothing else needs it.  Bounds are to be the same as the server's: no a * b + c
# becomes one rounding here either.

NVCC ?= $(firstword $(shell command -v nvcc) $(wildcard /usr/local/cuda/bin/nvcc))
NVCC_FLAGS = -std=c++17 -O3 --fmad=false -cudart static -Xcompiler -fPIC,-fvisibility=hidden,-Wall,-ffp-contract=off \
	-gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90 -gencode arch=compute_90,code=compute_90

gpu/vdb_gpu.so: gpu/vdb_gpu.cu gpu/vdb_gpu.h gpu/vdb_gpu_ptx.cuh
	$(NVCC) $(NVCC_FLAGS) -shared -o $@ $<

ifneq ($(NVCC),)
all: gpu/vdb_gpu.so
install: install-gpu
endif

install-gpu: gpu/vdb_gpu.so installdirs
	$(INSTALL_SHLIB) gpu/vdb_gpu.so '$(DESTDIR)$(pkglibdir)/'

uninstall: uninstall-gpu
uninstall-gpu:
	rm -f '$(DESTDIR)$(pkglibdir)/vdb_gpu.so'

# What stands in for it in tests.
test/gpu/test_gpu.so: test/gpu/test_gpu.c gpu/vdb_gpu.h
	$(CC) $(CFLAGS) -O3 $(CFLAGS_SL) $(CPPFLAGS) -shared -o $@ $<

# Functions of the soak programs, in a library that is never installed.
test/soak/soak_module.so: test/soak/soak_module.c
	$(CC) $(CFLAGS) $(CFLAGS_SL) $(CPPFLAGS) -shared -o $@ $<

# --- pgvector's name -------------------------------------------------------
#
# Files of that name that do not mention vdb are pgvector's, and stay.

ALIAS_DIR     = sql/alias
extension_dir = $(DESTDIR)$(datadir)/extension
alias_files   = $(wildcard $(extension_dir)/vector.control $(extension_dir)/vector--*.sql)
ours          = $(if $(1),$(shell grep -l vdb $(1)))
pgvectors     = $(wildcard $(DESTDIR)$(pkglibdir)/vector$(DLSUFFIX)) \
	$(filter-out $(call ours,$(alias_files)),$(alias_files))

$(ALIAS_DIR)/vector.control: sql/make_alias vdb.control $(DATA)
	sql/make_alias $(ALIAS_DIR)

install-pgvector-alias: $(ALIAS_DIR)/vector.control
	@set -- $(pgvectors); [ $$# = 0 ] || { \
		echo "pgvector is installed here and keeps its name: there is $$1" >&2; \
		echo "Dump the databases that use it, remove it, and try again." >&2; exit 1; }
	@[ -e '$(DESTDIR)$(pkglibdir)/vdb$(DLSUFFIX)' ] || { \
		echo "vdb is not installed in $(DESTDIR)$(pkglibdir): make install comes first" >&2; exit 1; }
	rm -f $(call ours,$(alias_files))
	$(INSTALL_DATA) $(ALIAS_DIR)/* '$(extension_dir)/'

uninstall-pgvector-alias:
	rm -f $(call ours,$(alias_files))

# The alias is of no use without the library.
uninstall: uninstall-pgvector-alias

else

# No server to build against yet: `make demo` and `make test` install one.
srcdir = .
all install installcheck install-pgvector-alias uninstall-pgvector-alias:
	@echo "$(PG_CONFIG) names no PostgreSQL with its server headers: install" >&2
	@echo "postgresql-server-dev-NN, or run test/setup, or say PG_CONFIG=..." >&2
	@exit 1
clean:
	rm -rf $(OBJS) $(OBJS:.o=.bc) vdb.so $(EXTRA_CLEAN)

endif

# --- C programs without a server -------------------------------------------
#
# Each test/unit/*.c is one program, linked with the part of the library that
# is pure C, under the address and undefined-behaviour sanitizers.  What ends in
# _tsan is built, and the library for it, under the thread sanitizer instead.
# NAME_arm64 is NAME for 64-bit ARM, by Debian's cross compiler: test/kinds runs
# it under emulation.

UNIT_DIR      = test/unit/build
UNIT_PROGRAMS = $(patsubst test/unit/%.c,$(UNIT_DIR)/%,$(sort $(wildcard test/unit/*.c)))
PURE_OBJS     = $(filter src/distance/% src/quant/% src/compute/compute_cpu.o src/exec/exec_bound.o src/hnsw/hnsw_batch.o src/hnsw/hnsw_graph.o src/hnsw/hnsw_length.o src/hnsw/hnsw_partition.o src/hnsw/hnsw_place.o src/mirror/mirror_code.o src/types/sparsevec_parse.o src/types/vector_parse.o,$(OBJS))
UNIT_OBJS     = $(addprefix $(UNIT_DIR)/,$(PURE_OBJS))
UNIT_CC       = $(or $(CC),cc)
UNIT_SANITIZE = address,undefined
UNIT_CFLAGS   = -std=gnu99 -O1 -g -fno-omit-frame-pointer $(WARNINGS) $(FLOATS) $(COPT) -pthread \
	-fsanitize=$(UNIT_SANITIZE) -fno-sanitize-recover=all -Isrc -Itest/unit -MMD -MP

unit: unit-programs
	@set -e; for program in $(UNIT_PROGRAMS); do echo "# $$program"; ./$$program; done

unit-programs: $(UNIT_PROGRAMS)

$(filter-out %_tsan,$(UNIT_PROGRAMS)): $(UNIT_DIR)/%: $(UNIT_DIR)/test/unit/%.o $(UNIT_DIR)/libpure.a
	$(UNIT_CC) $(UNIT_CFLAGS) -o $@ $^ -lm

$(UNIT_DIR)/%_tsan: $(UNIT_DIR)/tsan/test/unit/%_tsan.o $(UNIT_DIR)/tsan/libpure.a
	$(UNIT_CC) $(UNIT_CFLAGS) -o $@ $^ -lm

$(UNIT_DIR)/%_arm64: $(UNIT_DIR)/arm64/test/unit/%.o $(UNIT_DIR)/arm64/libpure.a
	$(UNIT_CC) $(UNIT_CFLAGS) -o $@ $^ -lm

$(UNIT_DIR)/%_tsan $(UNIT_DIR)/tsan/%: UNIT_SANITIZE = thread
$(UNIT_DIR)/%_arm64 $(UNIT_DIR)/arm64/%: UNIT_CC = aarch64-linux-gnu-gcc
$(UNIT_DIR)/%_arm64 $(UNIT_DIR)/arm64/%: UNIT_SANITIZE = address

$(UNIT_DIR)/libpure.a: $(UNIT_OBJS)
$(UNIT_DIR)/tsan/libpure.a: $(UNIT_OBJS:$(UNIT_DIR)/%=$(UNIT_DIR)/tsan/%)
$(UNIT_DIR)/arm64/libpure.a: $(UNIT_OBJS:$(UNIT_DIR)/%=$(UNIT_DIR)/arm64/%)
%/libpure.a:
	rm -f $@
	ar rcs $@ $^

# Emulated 512-bit arguments are passed in ways gcc wants to tell about, and there
# are more variables than it keeps track of.
$(UNIT_DIR)/test/unit/test_distance_avx512_simde.o: UNIT_CFLAGS += -Wno-psabi -fno-var-tracking-assignments

define UNIT_COMPILE
@mkdir -p $(@D)
$(UNIT_CC) $(UNIT_CFLAGS) -c -o $@ $<
endef

$(UNIT_DIR)/tsan/%.o: %.c
	$(UNIT_COMPILE)

$(UNIT_DIR)/arm64/%.o: %.c
	$(UNIT_COMPILE)

$(UNIT_DIR)/%.o: %.c
	$(UNIT_COMPILE)

-include $(wildcard $(addprefix $(UNIT_DIR)/,*/*/*.d tsan/*/*/*.d arm64/*/*/*.d))

# --- programs that measure -------------------------------------------------
#
# bench/build/NAME from bench/NAME.c, with the library's own objects.

BENCH_PROGRAMS = $(patsubst bench/%.c,bench/build/%,$(wildcard bench/*.c))

bench-programs: $(BENCH_PROGRAMS)

bench/build/%: bench/%.c $(PURE_OBJS)
	@mkdir -p $(@D)
	$(UNIT_CC) -std=gnu11 -O2 $(WARNINGS) $(COPT) -Isrc -o $@ $^ -lm

# --- the commands ----------------------------------------------------------

test:
	@exec env PG_CONFIG='$(PG_CONFIG)' KIND='$(KIND)' ONLY='$(ONLY)' JOBS='$(JOBS)' test/run

# SHARE=0.01 runs a hundredth of it.
soak:
	@exec env PG_CONFIG='$(PG_CONFIG)' KIND=soak SHARE='$(SHARE)' ONLY='$(ONLY)' JOBS='$(JOBS)' test/run

bench:
	@exec env PG_CONFIG='$(PG_CONFIG)' bench/bench.sh

demo:
	@exec env PG_CONFIG='$(PG_CONFIG)' bench/demo.sh

demo-stop:
	@exec env PG_CONFIG='$(PG_CONFIG)' bench/demo.sh stop

.PHONY: all install clean unit unit-programs bench-programs bench test soak demo demo-stop \
	install-gpu uninstall-gpu install-pgvector-alias uninstall-pgvector-alias
.SECONDARY:
