# Words as the program gets them: bash breaks them at colons and equals signs, too, and completes the last piece.
_complete_PROGRAM() {
    local line=${COMP_LINE:0:COMP_POINT} words=() piece space i
    for ((i = 0; i <= COMP_CWORD; i++)); do
        space=${line%%[![:space:]]*}
        line=${line#"$space"}
        piece=${COMP_WORDS[i]}
        ((i < COMP_CWORD)) || piece=$line
        line=${line#"$piece"}
        if [[ -z $space && $i -gt 0 ]]; then
            words[-1]+=$piece
        else
            words+=("$piece")
        fi
    done
    mapfile -t COMPREPLY < <(
        VARIABLE=bash _CLAP_IFS=$'\n' _CLAP_COMPLETE_SPACE=false _CLAP_COMPLETE_COMP_TYPE=$COMP_TYPE \
            _CLAP_COMPLETE_INDEX=$((${#words[@]} - 1)) PROGRAM -- "${words[@]}" 2>/dev/null
    )
    COMPREPLY=("${COMPREPLY[@]#"${words[-1]%"$2"}"}")
    [[ ${#COMPREPLY[@]} != 1 || ${COMPREPLY[0]} != *[=/:] ]] || compopt -o nospace
}

complete -o bashdefault -o nosort -F _complete_PROGRAM PROGRAM
