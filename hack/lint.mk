# SPDX-License-Identifier: Apache-2.0
# One stamp a file, so that a second run looks only at what changed. Called by hack/lint, which gives
# OUT, FLAGS, ANALYZED (C of the program), C (other C), H, SH and PY.
SHELL := /bin/bash
.SUFFIXES:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

CONFIG := hack/lint.mk .clang-tidy .clang-format
FORMAT = clang-format-16 $< | diff -u --label $<:written --label $<:formatted $< - > $@.diff || \
	{ echo "$<: run make fmt:"; sed -n '3,14p' $@.diff; false; }
TIDY = clang-tidy-16 --quiet $(1) $< -- $(FLAGS) $(BOUND) 2> >(grep -vE '^[0-9]+ (warning|error)|^Suppressed|^Use -' >&2)
# A bound on each function's states: a fifth of the time, the same findings.
BOUND := -Xclang -analyzer-config -Xclang max-nodes=40000
DEPS = -MMD -MP -MT $@ -MF $@.d
# Not -O0: the analyzer then follows every copy of a value, which takes longer and finds no more.
# Leaks are the tests' to find (LeakSanitizer): the analyzer loses who owns what inside of structs.
ANALYZE = gcc $(FLAGS) -O1 -fanalyzer -Wno-analyzer-too-complex -Wno-analyzer-malloc-leak $(DEPS) -S -o /dev/null $<

.PHONY: all
all: $(ANALYZED:%=$(OUT)/%.ok) $(C:%=$(OUT)/%.ok) $(H:%=$(OUT)/%.ok) $(SH:%=$(OUT)/%.ok) $(PY:%=$(OUT)/%.ok)

$(ANALYZED:%=$(OUT)/%.ok): $(OUT)/%.ok: % $(CONFIG)
	@mkdir -p $(@D)
	@e=0; { $(FORMAT); } || e=1; $(ANALYZE) || e=1; $(call TIDY) || e=1; [ $$e = 0 ] && touch $@

# Tests: no path-sensitive search; sanitizers run all of their paths.
$(C:%=$(OUT)/%.ok): $(OUT)/%.ok: % $(CONFIG)
	@mkdir -p $(@D)
	@e=0; { $(FORMAT); } || e=1; gcc $(FLAGS) $(DEPS) -fsyntax-only $< || e=1; $(call TIDY,--checks=-clang-analyzer-*) || e=1; [ $$e = 0 ] && touch $@

# A header stands alone: it includes what it needs.
$(H:%=$(OUT)/%.ok): $(OUT)/%.ok: % $(CONFIG)
	@mkdir -p $(@D)
	@e=0; { $(FORMAT); } || e=1; gcc $(FLAGS) -Wno-unused $(DEPS) -x c -fsyntax-only $< || e=1; [ $$e = 0 ] && touch $@

$(SH:%=$(OUT)/%.ok): $(OUT)/%.ok: % hack/lint.mk
	@mkdir -p $(@D)
	@shellcheck -x --severity=warning --exclude=SC2054 $< && touch $@

$(PY:%=$(OUT)/%.ok): $(OUT)/%.ok: % hack/lint.mk
	@mkdir -p $(@D)
	@$(PYTHON_LINT) $< && touch $@

-include $(shell find $(OUT) -name '*.ok.d' 2>/dev/null)
