# SPDX-License-Identifier: MIT
# Completion for pduclient in bash, for both of its interfaces. It needs nothing but bash: source this file, or install it
# as /usr/share/bash-completion/completions/pduclient. Names of nodes, groups and PDUs are the server's, if it is quick.

_pduclient() {
    local line=${COMP_LINE:0:COMP_POINT} words word='' verb='' groups=() server=() choices='' options='' each index
    local tls=" --ca-file --fingerprint --cert --cert-key"
    local pdu=" --http --daemon --hostname --port --alias --command --delay --wait --tls --token$tls"
    local server_options=" --json --url --token$tls --config"
    local nodes=" --groups --exclude --verbose --fold --yes --no-wait --soft --no-hard --key$server_options"

    # The words as typed: in COMP_WORDS they are broken at each : and =.
    read -ra words <<< "$line"
    if [[ $line != *[[:blank:]] ]]; then
        word=${words[-1]#[\"\']}
        unset 'words[-1]'
    fi
    for ((index = 1; index < ${#words[@]}; index++)); do
        case ${words[index]} in
            --url | --token | --ca-file | --ca | --fingerprint | --cert | --cert-key | --config)
                server+=("${words[@]:index++:2}")
                ;;
            --url=* | --token=* | --ca-file=* | --ca=* | --fingerprint=* | --cert=* | --cert-key=* | --config=*)
                server+=("${words[index]}")
                ;;
            --timeout | --key | --soft | --exclude | -x | --since | --until | --limit) ((++index)) ;;
            --groups | -g) groups=(--groups) ;;
            --http | -H | --tls | --daemon* | --hostname* | --port* | --alias* | --command* | --delay* | --wait*) verb=pdu ;;
            list | status | on | off | restart | cancel | pdus | outlets | show | history | watch)
                verb=${verb:-${words[index]}}
                ;;
        esac
    done
    case $verb in
        pdu) options=$pdu ;;
        cancel) options=$server_options ;;
        pdus) options=" --names$server_options" ;;
        outlets) options=" --fresh --verbose$server_options" ;;
        show) options=" --fresh$server_options" ;;
        history) options=" --failed --since --until --limit$server_options" ;;
        watch) options=" --lines$server_options" ;;
        list | status | on | off | restart) options=$nodes ;;
        *) options=$pdu$nodes ;;
    esac

    COMPREPLY=()
    case ${words[-1]}:$verb:$word in
        --ca-file:* | --ca:* | --cert:* | --cert-key:* | --config:*)
            compopt -o filenames 2> /dev/null
            mapfile -t COMPREPLY < <(compgen -f -- "$word")
            return
            ;;
        --url:* | --token:* | --fingerprint:* | --key:* | --soft:* | --timeout:* | --until:* | --limit:* | --daemon:* | --hostname:* | --port:* | --alias:* | --delay:* | --wait:*) ;;
        --command:*) choices="reboot on off status" ;;
        --since:*) choices="today yesterday 1h 2d" ;;
        *:*:-*) choices="--help --timeout$options" ;;
        *::*) choices="list status on off restart cancel pdus outlets show history watch" ;;
        *:list:* | *:cancel:* | *:pdus:* | *:pdu:*) ;;
        *:outlets:*) choices=$("${words[0]/#\~\//$HOME/}" pdus --names "${server[@]}" --timeout 1 2> /dev/null < /dev/null) ;;
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
