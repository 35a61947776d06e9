
# The first time, from a directory of $fpath, all of this file is the function that completes.
if [[ ${funcstack[1]-} == _PROGRAM ]]; then
    _clap_dynamic_completer_PROGRAM
fi
