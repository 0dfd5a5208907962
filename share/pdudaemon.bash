# SPDX-License-Identifier: MIT
# Completion for pdudaemon in bash: source this file, or install it as /usr/share/bash-completion/completions/pdudaemon. The
# names of PDUs, nodes and aliases are those of the configuration that --conf names, if it can be read.

_pdudaemon() {
    local line=${COMP_LINE:0:COMP_POINT} words word='' option='' conf=/etc/pdudaemon/pdudaemon.conf choices=() each index
    local options="--help --version --conf --topology --dbfile --listener --journal --logfile --loglevel --check --online
        --check-start --health --unfinished --list-drivers --list-devices --schema --print-file --probe --community --import --output --keep-powerman --token --tokens
        --days --name --role --drive --hostname --port --alias --request --wait --delay --retries --retry-delay"

    # The words as typed: in COMP_WORDS they are broken at each : and =.
    read -ra words <<< "$line"
    if [[ $line != *[[:blank:]] ]]; then
        word=${words[-1]}
        unset 'words[-1]'
    fi
    for ((index = 1; index < ${#words[@]}; index++)); do
        case ${words[index]} in
            --conf | -c) conf=${words[index + 1]:-$conf} ;;
            --conf=*) conf=${words[index]#*=} ;;
        esac
    done
    conf=${conf/#\~\//$HOME/}
    if [[ $word == --*=* ]]; then
        option=${word%%=*}
        word=${word#*=}
    elif ((${#words[@]} > 1)); then
        option=${words[-1]}
    fi

    COMPREPLY=()
    case $option:$word in
        --conf:* | -c:* | --topology:* | --dbfile:* | -d:* | --logfile:* | --import:* | --output:*)
            compopt -o filenames 2> /dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "${word/#\~\//$HOME/}")
            return
            ;;
        --listener:*) choices=(tcp http both) ;;
        --loglevel:*) choices=(DEBUG INFO WARN WARNING ERROR) ;;
        --request:*) choices=(on off reboot status) ;;
        --hostname:*) mapfile -t choices < <(_pdudaemon_names "$conf" pdus) ;;
        --alias:*) mapfile -t choices < <(_pdudaemon_names "$conf" aliases nodes) ;;
        --role:*) mapfile -t choices < <(_pdudaemon_names "$conf" roles) ;;
        --days:* | --name:* | --probe:[!-]* | --probe: | --community:*) ;;
        --port:* | --delay:* | --retries:* | --retry-delay:*) ;;
        --list-drivers:[!-]* | --list-drivers:)
            mapfile -t choices < <("${words[0]/#\~\//$HOME/}" --list-drivers 2> /dev/null < /dev/null)
            ;;
        *) read -rd '' -a choices <<< "$options" ;;
    esac

    for each in "${choices[@]}"; do
        printf -v each %q "$each"
        [[ $each == "$word"* ]] && COMPREPLY+=("$each")
    done
    # Of a word with colons, readline replaces what follows the last one.
    if [[ $word == *:* && $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"${word%:*}:"}")
    fi
}

# Print the names in sections of a configuration, each on a line.
_pdudaemon_names() {
    [[ -f $1 && -r $1 ]] && python3 -I -S -c '
import json, re, sys
with open(sys.argv[1], encoding="utf-8-sig") as file:
    whole = json.loads(re.sub(r"(?m)^[ \t]*(#|//).*$", "", file.read()))
for section in sys.argv[2:]:
    for name in whole.get(section, ()):
        if name.isprintable():
            print(name)
' "$@" 2> /dev/null
}

complete -F _pdudaemon pdudaemon
