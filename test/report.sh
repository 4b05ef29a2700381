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

# A difference is best read from its beginning, a log from its end.  The names
# of files are those of the tree, not of its temporary copy.
show_log() {
    local lines=40 end=tail length
    [ -s "$1" ] || return 0
    length=$(wc -l <"$1")
    [[ $(head -n 1 "$1") != diff\ * ]] || end=head
    $end -n "$lines" "$1" | sed -e "s|$work/tree/||g" -e 's/^/        | /'
    [ "$length" -le "$lines" ] || printf '        (%d more lines: see tmp_check/)\n' "$((length - lines))"
}
