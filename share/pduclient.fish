# SPDX-License-Identifier: MIT
# Completion for pduclient in fish, for both of its interfaces. Source this file, or put it into a folder such as
# /usr/share/fish/vendor_completions.d. Names of nodes, groups and PDUs are the server's, if it is quick.

function __pduclient_verb --description 'Print which command is being typed, or ports for the interface of ports'
    set -l skip 0
    for word in (commandline -opc)[2..]
        if test $skip = 1
            set skip 0
            continue
        end
        switch $word
            case --url --token --ca-file --fingerprint --cert --cert-key --config --timeout --key --soft --exclude -x --since --until --limit
                set skip 1
            case --http -H --tls '--daemon*' '--hostname*' '--port*' '--alias*' '--command*' '--delay*' '--wait*'
                echo ports
                return
            case list status on off restart cancel pdus outlets show history watch
                echo $word
                return
        end
    end
end

function __pduclient_is --description 'Whether one of some commands is being typed'
    contains -- "$(__pduclient_verb)" $argv
end

function __pduclient_ask --description 'Print what a command of the program that is being typed prints, if it is quick'
    set -l words (commandline -opc)
    set -l program (string replace -r '^~/' "$HOME/" -- $words[1])
    set -l server
    set -l place 2
    while test $place -le (count $words)
        switch $words[$place]
            case --url --token --ca-file --fingerprint --cert --cert-key --config
                set -a server $words[$place] $words[(math $place + 1)]
                set place (math $place + 1)
            case '--url=*' '--token=*' '--ca-file=*' '--fingerprint=*' '--cert=*' '--cert-key=*' '--config=*'
                set -a server $words[$place]
        end
        set place (math $place + 1)
    end
    command $program $argv $server --timeout 1 2>/dev/null </dev/null | string trim | string match -r '^[a-zA-Z0-9_.-]+$'
end

function __pduclient_nodes
    if string match -qr -- '^(--groups|-g)$' (commandline -opc)
        __pduclient_ask list --groups
    else
        __pduclient_ask list
    end
end

complete -c pduclient -f
complete -c pduclient -s h -l help -d 'Show the help and exit'

# The commands, and what follows them
set -l none '__pduclient_is ""'
set -l nodes '__pduclient_is list status on off restart'
set -l verbs '__pduclient_is list status on off restart cancel pdus outlets show history watch'
complete -c pduclient -n $none -a list -d 'Print every node'
complete -c pduclient -n $none -a status -d 'Print the state of nodes'
complete -c pduclient -n $none -a on -d 'Switch nodes on'
complete -c pduclient -n $none -a off -d 'Switch nodes off'
complete -c pduclient -n $none -a restart -d 'Restart nodes'
complete -c pduclient -n $none -a cancel -d 'Take back what a command has not begun'
complete -c pduclient -n $none -a pdus -d 'Show every PDU'
complete -c pduclient -n $none -a outlets -d 'Show the outlets of a PDU'
complete -c pduclient -n $none -a show -d 'Show where a node is plugged in'
complete -c pduclient -n $none -a history -d 'Show what was asked for'
complete -c pduclient -n $none -a watch -d 'Show what happens'
complete -c pduclient -n '__pduclient_is status on off restart show history watch' -a '(__fish_complete_list , __pduclient_nodes)'
complete -c pduclient -n '__pduclient_is outlets' -a '(__pduclient_ask pdus --names)'

complete -c pduclient -n $nodes -s g -l groups -d 'The names are those of groups'
complete -c pduclient -n $nodes -s x -l exclude -x -a '(__fish_complete_list , __pduclient_nodes)' -d 'But not these'
complete -c pduclient -n $nodes -s v -l verbose -d 'Tell more'
complete -c pduclient -n $nodes -s f -l fold -d 'A line for each result'
complete -c pduclient -n $nodes -s y -l yes -d 'Do not ask'
complete -c pduclient -n $nodes -l no-wait -d 'Accepted is enough; print the ID of the command'
complete -c pduclient -n $nodes -l soft -x -d 'Ask to shut down, and switch off after so long'
complete -c pduclient -n $nodes -l no-hard -d 'Leave it at asking'
complete -c pduclient -n $nodes -l key -x -d 'The key of an earlier run'
complete -c pduclient -n '__pduclient_is pdus' -l names -d 'The names alone'
complete -c pduclient -n '__pduclient_is outlets show' -l fresh -d 'Ask the device now'
complete -c pduclient -n '__pduclient_is outlets' -s v -l verbose -d 'Tell more'
complete -c pduclient -n '__pduclient_is history' -l failed -d 'Only what was not done'
complete -c pduclient -n '__pduclient_is history' -l since -x -a 'today yesterday 1h 2d' -d 'Only since then'
complete -c pduclient -n '__pduclient_is history' -l until -x -d 'Only before'
complete -c pduclient -n '__pduclient_is history' -l limit -x -d 'As many of the newest'
complete -c pduclient -n '__pduclient_is watch' -l lines -d 'A line for each event'
complete -c pduclient -n $verbs -l json -d 'Print one JSON document'
complete -c pduclient -n $verbs -l url -x -d 'The server'
complete -c pduclient -n $verbs -l config -r -F -d 'The only configuration file to read'

# Ports
set -l ports '__pduclient_is "" ports'
complete -c pduclient -n $ports -s H -l http -d 'Use HTTP'
complete -c pduclient -n $ports -l daemon -x -d 'Where the daemon listens'
complete -c pduclient -n $ports -l hostname -x -d 'The PDU'
complete -c pduclient -n $ports -l port -x -d 'The port of the PDU'
complete -c pduclient -n $ports -l alias -x -d 'A node or an alias'
complete -c pduclient -n $ports -l command -x -a 'reboot on off status' -d 'What to do'
complete -c pduclient -n $ports -l delay -x -d 'Delay before the command, or between off and on'
complete -c pduclient -n $ports -l wait -x -d 'How long the daemon waits for the result'
complete -c pduclient -n $ports -l tls -d 'Speak TLS'

# Both
complete -c pduclient -l timeout -x -d 'How long to wait'
complete -c pduclient -l token -x -d 'What lets you in'
complete -c pduclient -l ca-file -r -F -d 'The certificates to trust'
complete -c pduclient -l fingerprint -x -d 'Trust the certificate that has it'
complete -c pduclient -l cert -r -F -d 'Our own certificate'
complete -c pduclient -l cert-key -r -F -d 'Its key'
