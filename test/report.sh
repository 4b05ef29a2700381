# How a finished test looks on the screen.  Sourced by test/run and test/kinds.

if [ -t 1 ]; then
    ok_mark=$'\e[32mok\e[0m  ' fail_mark=$'\e[31mFAIL\e[0m'
else
    ok_mark='ok  ' fail_mark='FAIL'
fi

# report kind name status microseconds log [remark]
# One line; after a failure also what the log says, set off by a margin.
report() {
    local mark=$ok_mark
    [ "$3" = 0 ] || mark=$fail_mark
    printf '  %s  %-44s %8s s%s\n' "$mark" "$1/$2" "$(seconds "$4")" "${6:+  $6}"
    [ "$3" = 0 ] || show_log "$5"
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
