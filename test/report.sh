# How a finished test looks on the screen.  Sourced by test/run and test/kinds.

if [ -t 1 ]; then
    ok_mark=$'\e[32mok\e[0m  ' fail_mark=$'\e[31mFAIL\e[0m' skip_mark=$'\e[33mskip\e[0m'
else
    ok_mark='ok  ' fail_mark='FAIL' skip_mark='skip'
fi

# The status of a test that cannot run here, and has said why.
skipped=77

# report kind name status microseconds log [remark]
# One line; after a failure also what the log says, set off by a margin.
report() {
    local mark=$fail_mark
    case $3 in 0) mark=$ok_mark ;; "$skipped") mark=$skip_mark ;; esac
    printf '  %s  %-44s %8s s%s\n' "$mark" "$1/$2" "$(seconds "$4")" "${6:+  $6}"
    [ "$mark" != "$fail_mark" ] || show_log "$5"
}

# A difference is best read from its beginning, of claims those that failed, any
# other log from its end.  The names of files are those of the tree, not of its
# temporary copy.
show_log() {
    local lines=40 shown=$1.shown length
    [ -s "$1" ] || return 0
    if [[ $(head -n 1 "$1") = diff\ * ]]; then
        head -n "$lines" "$1" >"$shown"
    elif grep -q '^not ok ' "$1"; then
        awk '/^ok / { shown = 0 } /^not ok |^1\.\.|^Dubious/ { shown = 1 } shown' "$1" | head -n "$lines" >"$shown"
    else
        tail -n "$lines" "$1" >"$shown"
    fi
    sed -e "s|$work/tree/||g" -e 's/^/        | /' "$shown"
    length=$(($(wc -l <"$1") - $(wc -l <"$shown")))
    rm "$shown"
    [ "$length" -le 0 ] || printf '        (%d more lines: see tmp_check/)\n' "$length"
}
