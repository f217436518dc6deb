# SPDX-License-Identifier: Apache-2.0
# Keyturn. `make help` lists the targets. One file, no recursion: every variant has its own folder.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
.DELETE_ON_ERROR:
.SUFFIXES:
JOBS ?= 2
MAKEFLAGS += --no-builtin-rules --no-builtin-variables --no-print-directory
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(JOBS)
endif

BUILD ?= build
VARIANT ?= debug
FUZZ_SECONDS ?= 30
SEEDS ?= 2000
SEED ?= 1
comma := ,
IMAGE ?= localhost/keyturn:dev
IMAGE_TAR ?= $(BUILD)/keyturn-image.tar
ifneq ($(filter default undefined,$(origin CC)),)
CC := gcc
endif
Q := $(if $(V),,@)
# A program that calls make itself: it gets a make of its own, not a share of this one's jobs.
RUN := @env -u MAKEFLAGS -u MFLAGS -u MAKELEVEL

VARIANTS := debug release asan
# gcc owns build/<variant>; another compiler gets build/<variant>-<compiler>, so that both stay warm.
SUFFIX := $(if $(filter gcc,$(CC)),,-$(notdir $(CC)))
OUT := $(BUILD)/$(VARIANT)$(SUFFIX)
ASAN := $(BUILD)/asan$(SUFFIX)
FUZZ := $(BUILD)/fuzz

# Nothing written into a build depends on the day, the folder or the machine.
GIT := GIT_OPTIONAL_LOCKS=0 git
VERSION ?= $(shell $(GIT) describe --tags --always --dirty 2>/dev/null || echo 0.0.0-unknown)
export SOURCE_DATE_EPOCH ?= $(shell $(GIT) log -1 --format=%ct 2>/dev/null || echo 0)
export LC_ALL := C.UTF-8

# --- flags ---------------------------------------------------------------------------------------
PKGS := libcurl openssl yaml-0.1 jansson libwebsockets libcares libseccomp
# Asked once and late, in a recipe: by then hack/setup has installed what was missing.
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell pkg-config --cflags $(PKGS) cmocka))$(PKG_CFLAGS)
PKG_LIBS = $(eval PKG_LIBS := $$(shell pkg-config --libs $(PKGS)))$(PKG_LIBS)
CMOCKA_LIBS = $(eval CMOCKA_LIBS := $$(shell pkg-config --libs cmocka))$(CMOCKA_LIBS)

CPPFLAGS := -D_GNU_SOURCE -Ipkg
WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla \
	-Wswitch-enum -Wformat=2 -Werror
# Where a jump may land is checked by another instruction set on each machine, so another flag.
HARDEN_x86_64 := -fcf-protection
HARDEN_aarch64 := -mbranch-protection=standard
HARDEN := -fstack-protector-strong -fstack-clash-protection $(HARDEN_$(shell uname -m))
CFLAGS_ALL := -std=c17 $(WARNINGS) $(HARDEN) -fPIE -ffile-prefix-map=$(CURDIR)=. -g
LDFLAGS_ALL := -pie -Wl,-z,relro,-z,now,-z,noexecstack -Wl,--as-needed -Wl,--build-id=sha1
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
CFLAGS_debug := -O0
CFLAGS_release := -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3
# Sanitizers make gcc see uninitialised values where there are none (gcc's manual, -Wmaybe-uninitialized).
CFLAGS_asan := -O1 $(SANITIZE) -Wno-maybe-uninitialized
LDFLAGS_asan := $(SANITIZE)
CFLAGS_fuzz := -O1 $(SANITIZE) -fsanitize=fuzzer-no-link
LDFLAGS_fuzz := $(SANITIZE) -fsanitize=fuzzer

# --- sources -------------------------------------------------------------------------------------
LIB_SRC := $(sort $(shell find pkg -name '*.c' 2>/dev/null))
CMD_SRC := $(sort $(wildcard cmd/*/*.c))
CMDS := $(sort $(foreach c,$(CMD_SRC),$(word 2,$(subst /, ,$c))))
TESTLIB_SRC := $(sort $(wildcard tests/lib/*.c))
UNITS := $(sort $(patsubst tests/unit/%.c,%,$(wildcard tests/unit/test_*.c)))
FUZZERS := $(sort $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c)))

.PHONY: all build release unit fuzz-replay fuzz fuzz-build floors tidy lint fmt check image test
.PHONY: bench model mutants kills bench-build demo demo-down clean help print-flags FORCE
.DEFAULT_GOAL := all

all: build ## the same as build

build: $(addprefix $(OUT)/,libkeyturn.a $(CMDS)) ## library and commands in build/$(VARIANT)

release: $(addprefix $(BUILD)/release$(SUFFIX)/,libkeyturn.a $(CMDS)) ## optimised, hardened variant

# --- one set of rules a variant: $(1) folder, $(2) variant, $(3) compiler -------------------------
# Files appear by rename: two makes in one tree never see half an object.
define RULES
$(1)/obj/%.o: %.c $(1)/flags | $(BUILD)/.setup-build $(if $(filter clang%,$(3)),$(BUILD)/.setup-lint)
	@mkdir -p $$(@D)
	@echo "  CC    $$@"
	$(Q)$(3) $(CPPFLAGS) $$(DEFS) $$(PKG_CFLAGS) $(CFLAGS_ALL) $(CFLAGS_$(2)) -c $$< \
		-MMD -MP -MT $$@ -MF $$@.d.$$$$$$$$ -o $$@.$$$$$$$$ && mv $$@.d.$$$$$$$$ $$(@:.o=.d) && \
		mv $$@.$$$$$$$$ $$@ || { rm -f $$@.$$$$$$$$ $$@.d.$$$$$$$$; exit 1; }

$(1)/libkeyturn.a: $(LIB_SRC:%.c=$(1)/obj/%.o)
	@echo "  AR    $$@"
	$(Q)rm -f $$@.$$$$$$$$ && ar rcsD $$@.$$$$$$$$ $$(filter %.o,$$^) && mv $$@.$$$$$$$$ $$@

$(1)/flags: FORCE
	@mkdir -p $$(@D)
	@flags='$(3) $(CPPFLAGS) $(CFLAGS_ALL) $(CFLAGS_$(2)) $(LDFLAGS_ALL)'; \
		cmp -s - $$@ <<< "$$$$flags" || echo "$$$$flags" > $$@

$(patsubst %.c,$(1)/obj/%.o,$(filter %/version.c,$(LIB_SRC) $(CMD_SRC))): $(BUILD)/version
$(1)/obj/%/version.o: DEFS = -DKEYTURN_VERSION='"$(VERSION)"'
endef
LINK = @echo "  LINK  $@"; mkdir -p $(@D); $(1) $(LDFLAGS_ALL) $(LDFLAGS_$(2)) -o $@.$$$$ \
	$(filter %.o %.a,$^) $(3) $(PKG_LIBS) && mv $@.$$$$ $@
$(foreach v,$(VARIANTS),$(eval $(call RULES,$(BUILD)/$v$(SUFFIX),$v,$(CC))))
$(eval $(call RULES,$(FUZZ),fuzz,clang-16))

# $(1) command, $(2) variant
define CMD_RULES
$(BUILD)/$(2)$(SUFFIX)/$(1): $(patsubst %.c,$(BUILD)/$(2)$(SUFFIX)/obj/%.o,$(filter cmd/$(1)/%,$(CMD_SRC))) \
		$(BUILD)/$(2)$(SUFFIX)/libkeyturn.a $(BUILD)/$(2)$(SUFFIX)/flags
	$$(call LINK,$(CC),$(2))
endef
$(foreach v,$(VARIANTS),$(foreach c,$(CMDS),$(eval $(call CMD_RULES,$c,$v))))

$(BUILD)/version: FORCE
	@mkdir -p $(@D); echo '$(VERSION)' | cmp -s - $@ || echo '$(VERSION)' > $@

# Asked again when the list of packages changes.
$(BUILD)/.setup-%: hack/setup
	@mkdir -p $(@D); hack/setup $* && touch $@

-include $(shell find $(BUILD) -path '*/obj/*.d' 2>/dev/null)

# --- tests ---------------------------------------------------------------------------------------
TESTLIB := $(TESTLIB_SRC:%.c=$(ASAN)/obj/%.o)
UNIT_BINS := $(UNITS:%=$(ASAN)/unit/%)

$(UNIT_BINS): $(ASAN)/unit/%: $(ASAN)/obj/tests/unit/%.o $(TESTLIB) $(ASAN)/libkeyturn.a
	$(call LINK,$(CC),asan,$(CMOCKA_LIBS))

unit: $(UNIT_BINS) hack/run-unit ## unit tests (cmocka) under ASan and UBSan
	@hack/run-unit --jobs $(JOBS) --junit $(BUILD)/results/unit.xml $(UNIT_BINS)

# One test, whatever state the other modules are in: what compiles is archived and linked.
unit-%: FORCE ## one unit test: `make unit-buf` runs tests/unit/test_buf.c
	@$(MAKE) -k $(LIB_SRC:%.c=$(ASAN)/obj/%.o) || echo "unit-$*: some modules do not compile; linking the rest" >&2
	@$(MAKE) $(ASAN)/obj/tests/unit/test_$*.o $(TESTLIB)
	@mkdir -p $(ASAN)/one; rm -f $(ASAN)/one/$*.a
	@ar rcsD $(ASAN)/one/$*.a $$(ls $(LIB_SRC:%.c=$(ASAN)/obj/%.o) 2>/dev/null)
	@$(CC) $(LDFLAGS_ALL) $(LDFLAGS_asan) -o $(ASAN)/one/test_$* $(ASAN)/obj/tests/unit/test_$*.o \
		$(TESTLIB) $(ASAN)/one/$*.a $(CMOCKA_LIBS) $(PKG_LIBS)
	@hack/run-unit --verbose $(ASAN)/one/test_$*

REPLAY_BINS := $(FUZZERS:%=$(ASAN)/fuzz/%)
FUZZ_BINS := $(FUZZERS:%=$(FUZZ)/bin/%)
$(REPLAY_BINS): $(ASAN)/fuzz/%: $(ASAN)/obj/tests/fuzz/fuzz_%.o $(ASAN)/obj/tests/fuzz/replay.o $(ASAN)/libkeyturn.a
	$(call LINK,$(CC),asan)
$(FUZZ_BINS): $(FUZZ)/bin/%: $(FUZZ)/obj/tests/fuzz/fuzz_%.o $(FUZZ)/libkeyturn.a
	$(call LINK,clang-16,fuzz)

fuzz-replay: $(REPLAY_BINS) ## committed fuzz corpus through plain binaries with ASan
	@hack/fuzz-one --replay $(ASAN)/fuzz $(FUZZERS)

fuzz-build: $(FUZZ_BINS) ## fuzz targets for libFuzzer, not run

fuzz: $(FUZZ_BINS) ## each fuzz target for FUZZ_SECONDS=30 by libFuzzer, two at a time
	@hack/fuzz-one --seconds $(FUZZ_SECONDS) --jobs $(JOBS) $(FUZZ)/bin $(FUZZERS)

# The engine needs nothing but base: what is searched millions of times is optimised.
MODEL := $(BUILD)/release/model
$(MODEL): $(patsubst %.c,$(BUILD)/release/obj/%.o,$(wildcard tests/model/*.c)) $(BUILD)/release/libkeyturn.a
	$(call LINK,$(CC),release)

model: $(MODEL) ## every reachable state of the rotation engine in a small world
	@$(MODEL) --jobs $(JOBS)

mutants: ## breaks one rule of the engine at a time: the model notices each
	@hack/mutants

# The whole controller in a simulated world, optimised as the operator is: seeds are many. The linker takes the world's loop
# instead of pkg/io's, and lets tests/sim count what the engine does.
SIM := $(BUILD)/release/sim
SIM_WRAP := $(addprefix -Wl$(comma)--wrap=,engine_decide reconcile_rotation jose_key_from_jwk jose_key_from_spki)
$(SIM): $(patsubst %.c,$(BUILD)/release/obj/%.o,$(wildcard tests/sim/*.c)) $(BUILD)/release/libkeyturn.a
	$(call LINK,$(CC),release,$(SIM_WRAP))
$(ASAN)/sim: $(patsubst %.c,$(ASAN)/obj/%.o,$(wildcard tests/sim/*.c)) $(ASAN)/libkeyturn.a
	$(call LINK,$(CC),asan,$(SIM_WRAP))

sim: $(SIM) ## the whole controller in simulated worlds where things go wrong: SEEDS=2000 SEED=1
	@$(SIM) --self-check
	@$(SIM) --seed $(SEED) --seeds $(SEEDS) --jobs $(JOBS)

kills: ## a rotation killed, stopped or made to forget after every one of its writes on a real cluster; an hour
	KEYTURN_KILLS=all $(RUN) tests/run e2e -- tests/e2e/test_rotation_kill.py

floors: ## no module includes its own floor or a higher one; pkg/README.md lists all modules
	@hack/floors

tidy: ## ceilings: function, file and line length, parameters, clocks, contracts, licences
	@hack/tidy

lint: | $(BUILD)/.setup-lint ## clang-format, clang-tidy, gcc -fanalyzer, shellcheck, Python; only what changed
	$(RUN) hack/lint

fmt: | $(BUILD)/.setup-lint ## reformat all C
	$(RUN) hack/lint --fix

check: | $(BUILD)/.setup-build $(BUILD)/.setup-lint ## build, unit, floors, tidy, lint: under 3 minutes
	$(RUN) hack/check

test: ## everything: check, clang, fuzz, image, chart, end to end
	$(RUN) tests/run

# What `make bench` runs beside the operator; optimised as that is.
BENCH_BINS := $(patsubst tests/bench/%.c,$(BUILD)/release/bench/%,$(wildcard tests/bench/*.c))
$(BENCH_BINS): $(BUILD)/release/bench/%: $(BUILD)/release/obj/tests/bench/%.o $(BUILD)/release/libkeyturn.a
	$(call LINK,$(CC),release)

bench-build: release $(BENCH_BINS) # for tests/run

bench: ## numbers on a real cluster, side by side with what the same requests cost bare
	$(RUN) tests/run bench

# --- image, demo ---------------------------------------------------------------------------------
image: release ## OCI archive build/keyturn-image.tar, no container engine needed (IMAGE=name:tag)
	@hack/image/build --name '$(IMAGE)' --from $(BUILD)/release$(SUFFIX) --output $(IMAGE_TAR)

demo: ## the main job on a live cluster; stays up
	$(RUN) hack/demo/demo

demo-down: ## remove every trace of the demo
	$(RUN) hack/demo/demo down

clean: ## remove build/
	@rm -rf $(BUILD)

help: ## this list
	@sed -nE 's/^([a-z%-]+):[^#]*## (.*)/  \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | sed 's/%/NAME/' | expand -t 16
	@echo; echo "  Variables: VARIANT=debug|release|asan CC=gcc|clang-16 JOBS=2 FUZZ_SECONDS=30 IMAGE=name:tag V=1 CLUSTER=kubeconfig"

print-flags: # for hack/lint
	@echo '-std=c17 $(CPPFLAGS) $(PKG_CFLAGS) $(WARNINGS)'
FORCE:
