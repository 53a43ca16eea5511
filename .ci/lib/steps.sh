# shellcheck shell=bash
# Runs the steps, each under a heading, and tells at the end how each went and how long it took.

step_results=()
steps_failed=0
# What the tests that failed said, to be read at the end.
failures=$(mktemp)
said=$(mktemp)
trap 'rm -f "$failures" "$said"' EXIT

# run_step NAME: calls the function step_NAME, with - as _. The steps after one that failed run too.
run_step() {
    local status began=$SECONDS result
    printf '\n========== %s ==========\n' "$1"
    # As part of a condition, a function would go on after a failure, whatever set -e says.
    set +e
    (
        set -e
        cd "$root"
        "step_${1//-/_}"
    ) > >(tee "$said") 2>&1
    status=$?
    set -e
    case $status in
        0) result=ok ;;
        "$skipped") result='not run' ;;
        *)
            result="FAILED ($status)"
            steps_failed=$((steps_failed + 1))
            # What was said last is on its way yet. Nobody waits for tee: what a test has left behind may hold its pipe.
            sleep 1
            # Cargo's test programs begin what a failed test has said with its name; so many lines of each are kept.
            awk '/^---- .* stdout ----$/ { left = 40 } /^test result: / { left = 0 } left-- > 0' "$said" >> "$failures"
            ;;
    esac
    step_results+=("$(printf '%-16s %5d s  %s' "$1" $((SECONDS - began)) "$result")")
    echo "---------- $1: $result, $((SECONDS - began)) s"
}

# Ends the script.
report_steps() {
    printf '\n========== summary ==========\n'
    printf '%s\n' "${step_results[@]}" "$(printf '%-16s %5d s' total "$SECONDS")"
    [ ! -s "$failures" ] || printf '\n========== tests that failed ==========\n%s\n' "$(cat "$failures")"
    [ "$steps_failed" -eq 0 ]
}
