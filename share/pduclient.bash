# SPDX-License-Identifier: MIT
# Completion for pduclient in bash, for both of its interfaces. It needs nothing but bash: source this file, or install it
# as /usr/share/bash-completion/completions/pduclient. The names of nodes and groups are the server's, if it is quick.

_pduclient() {
    local line=${COMP_LINE:0:COMP_POINT} words word='' verb='' groups=() server=() choices='' each index
    local pdu=" --http --daemon --hostname --port --alias --command --delay --wait"
    local server_options=" --json --url --token --ca-file --config"
    local nodes=" --groups --verbose --fold --yes --key$server_options"

    # The words as typed: in COMP_WORDS they are broken at each : and =.
    read -ra words <<< "$line"
    if [[ $line != *[[:blank:]] ]]; then
        word=${words[-1]#[\"\']}
        unset 'words[-1]'
    fi
    for ((index = 1; index < ${#words[@]}; index++)); do
        case ${words[index]} in
            --url | --token | --ca-file | --config) server+=("${words[@]:index++:2}") ;;
            --url=* | --token=* | --ca-file=* | --config=*) server+=("${words[index]}") ;;
            --timeout | --key) ((++index)) ;;
            --groups | -g) groups=(--groups) ;;
            --http | -H | --daemon* | --hostname* | --port* | --alias* | --command* | --delay* | --wait*) verb=pdu ;;
            list | status | on | off | restart | cancel) verb=${verb:-${words[index]}} ;;
        esac
    done

    COMPREPLY=()
    case ${words[-1]}:$verb:$word in
        --ca-file:* | --config:*)
            compopt -o filenames 2> /dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --url:* | --token:* | --key:* | --timeout:* | --daemon:* | --hostname:* | --port:* | --alias:* | --delay:* | --wait:*) ;;
        --command:*) choices="reboot on off status" ;;
        *:pdu:-*) choices="--help --timeout$pdu" ;;
        *:cancel:-*) choices="--help --timeout$server_options" ;;
        *::-*) choices="--help --timeout$pdu$nodes" ;;
        *:-*) choices="--help --timeout$nodes" ;;
        *::*) choices="list status on off restart cancel" ;;
        *:list:* | *:cancel:* | *:pdu:*) ;;
        *) choices=$("${words[0]/#\~\//$HOME/}" list "${groups[@]}" "${server[@]}" --timeout 1 2> /dev/null < /dev/null) ;;
    esac

    # Only the last of several names, after the last comma, is to be completed. Nothing that a server says gets to the
    # shell unless it is a plain name.
    read -rd '' -a choices <<< "$choices"
    for each in "${choices[@]}"; do
        if [[ $each == "${word##*,}"* && $each != *[!a-zA-Z0-9_.-]* ]]; then
            [[ $word == *,* ]] && each=${word%,*},$each
            COMPREPLY+=("$each")
        fi
    done
}

complete -F _pduclient pduclient
