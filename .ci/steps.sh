# The steps of .ci/run: each is timed, and a table of the minutes is printed at the end, whichever way it ends.
# Sourced by bash. `budget_minutes` is what all steps may take together.

budget_minutes=${budget_minutes:-60}
step_table=()

# step NAME COMMAND...: runs a step and notes its time. The run ends at the first step that fails.
step() {
    local name=$1 began=$SECONDS code=0
    shift
    printf '\n=== %s\n' "$name"
    "$@" || code=$?
    note_step "$name" "$((SECONDS - began))" "$( ((code)) && echo "FAILED ($code)" || echo ok)"
    return "$code"
}

# skip_step NAME REASON: a step that cannot run here.
skip_step() {
    printf '\n=== %s: SKIPPED, as %s\n' "$1" "$2"
    note_step "$1" 0 "SKIPPED, as $2"
}

# has_minutes N: whether N minutes are left of the budget. Steps that repeat under other circumstances what was tested before are
# left out where a slow machine has used their time; the table says so.
has_minutes() {
    ((SECONDS + $1 * 60 < budget_minutes * 60))
}

note_step() {
    step_table+=("$(printf '%-28s %4d:%02d  %s' "$1" "$(($2 / 60))" "$(($2 % 60))" "$3")")
}

# Prints the table; fails where all steps together took longer than the budget.
print_steps() {
    local code=$? seconds=$SECONDS
    printf '\n%-28s %7s  %s\n' step min:s result
    ((${#step_table[@]})) && printf '%s\n' "${step_table[@]}"
    printf '%-28s %4d:%02d\n' 'all steps' "$((seconds / 60))" "$((seconds % 60))"
    if ((seconds > budget_minutes * 60)); then
        echo "the steps took longer than $budget_minutes minutes" >&2
        exit 1
    fi
    exit "$code"
}
trap print_steps EXIT
