#!/usr/bin/env bash
# Counts the phrases that violate the section "Language" of CONTRIBUTING.md, in comments, documentation, messages and
# test names. Fails if a file contains more than one such phrase per 500 lines of prose, or a sentence of more than 25
# words. `ci/language.sh -v` prints each phrase that it counts. Arguments are the files to check, by default all tracked
# files.
set -euo pipefail
cd "$(dirname "$0")/.."

verbose=0
if [ "${1:-}" = -v ]; then
    verbose=1
    shift
fi
if [ $# -eq 0 ]; then
    mapfile -t files < <(git ls-files '*.rs' '*.md' '*.sh' '*.toml' '*.yml' '.ci/run' '*.js' '*.css' '*.html' |
        grep -v -e '^ci/language\.sh$' -e '^public-api\.txt$')
    set -- "${files[@]}"
fi

awk -v verbose="$verbose" '
# One rule per kind of phrase. The text is lowercase, with a space at both ends.
BEGIN {
    rule["headless who"] = " (who|whoever|whom|whomever) "
    rule["headless what"] = " (what|whatever) "
    rule["nobody, somebody"] = " (nobody|somebody|everybody|anybody|someone|anyone|everyone) "
    rule["tell, told"] = " (tell|tells|told|telling) "
    rule["let go"] = " (let|lets|letting) go "
    rule["want, know"] = " (wants|wanted|want|knows) "
    rule["likewise, so many"] = " (likewise|so many|so much) "
    rule["for as because"] = "[,;:] for (the|it|its|there|an?|that|this|these|those|they|no|only|each|every|all|one|else) "
    rule["room"] = " rooms? "
    rule["British spelling"] = " (mend|mends|mended|whilst|amongst|licence|grey|centre|[a-z]*(colour|behaviour|favour|neighbour|honour)[a-z]*|" \
        "(serial|deserial|synchron|initial|optim|recogn|organ|real|general|normal|summar|util|minim|maxim|final|author|categor|emphas|priorit|character|custom)is(e|es|ed|er|ers|ing|ation)|" \
        "[a-z]*(ancell|abell|ravell|ignall|odell)(ed|ing)) "
}

# Returns the part of a line that is prose: a comment, a line of Markdown, a message, or the name of a test function.
function prose(line,    text) {
    if (kind == "md") {
        if (line ~ /^ *```/) { fenced = !fenced; return "" }
        return fenced ? "" : line
    }
    if (kind == "rs") {
        if (line ~ /^ *\/\/[\/!]? *```/) { fenced = !fenced; return "" }
        if (line ~ /^ *\/\//) { sub(/^ *\/\/[\/!]? ?/, "", line); return fenced ? "" : line }
        fenced = 0
        if (line ~ /^ *(async )?fn [a-z0-9_]+\(/ && line ~ /\(\)/) {
            text = line; sub(/^ *(async )?fn /, "", text); sub(/\(.*/, "", text); gsub(/_/, " ", text)
            return split(text, parts, " ") > 3 ? text : ""
        }
        # Messages: string literals of several words.
        if (match(line, /"[^"]* [^"]* [^"]*"/)) return substr(line, RSTART + 1, RLENGTH - 2)
        return ""
    }
    if (kind == "hash") {
        if (line ~ /^ *#!/) return ""
        if (line ~ /^ *#/) { sub(/^ *# ?/, "", line); return line }
        if (match(line, /"[^"]* [^"]* [^"]*"/)) return substr(line, RSTART + 1, RLENGTH - 2)
        return ""
    }
    if (line ~ /^ *(\/\/|\/\*|\*|<!--)/) { sub(/^ *(\/\/|\/\*|\*|<!--) ?/, "", line); return line }
    return ""
}

function finish_sentence(    count, words) {
    gsub(/`[^`]*`/, "code", sentence); gsub(/\[[^]]*\]\([^)]*\)/, "link", sentence)
    count = split(sentence, words, " ")
    if (count > 25) {
        long[FILENAME]++
        if (verbose) printf "%s:%d: long sentence (%d words): %s\n", FILENAME, FNR, count, sentence
    }
    sentence = ""
}

# Splits prose into sentences. A blank line, a table, a list item or code ends a sentence.
function add_to_sentence(text,    cut) {
    if (text == "" || text ~ /^ *([|#>]|```)/) { finish_sentence(); return }
    if (text ~ /^ *([-*]|[0-9]+\.) /) finish_sentence()
    while (match(text, /[.!?:;]["\x27)*]*( |$)/)) {
        sentence = sentence " " substr(text, 1, RSTART)
        text = substr(text, RSTART + RLENGTH)
        finish_sentence()
    }
    sentence = sentence " " text
}

FNR == 1 {
    finish_sentence()
    fenced = 0
    kind = FILENAME ~ /\.md$/ ? "md" : FILENAME ~ /\.rs$/ ? "rs" : FILENAME ~ /\.(sh|toml|yml)$|run$/ ? "hash" : "web"
    names[++file_count] = FILENAME
}
{
    text = prose($0)
    add_to_sentence(text)
    if (text == "") next
    prose_lines[FILENAME]++
    total_lines++
    low = tolower(text)
    gsub(/`[^`]*`/, "code", low); gsub(/\]\([^)]*\)/, "] ", low)
    gsub(/[^a-z0-9,;:]/, " ", low); gsub(/ +/, " ", low)
    padded = " " low " "; plain = padded
    gsub(/[,;:]/, " ", plain); gsub(/ +/, " ", plain)
    for (name in rule) {
        subject = name == "for as because" ? padded : plain
        if (subject ~ rule[name]) {
            found[FILENAME]++; total[name]++
            if (verbose) printf "%s:%d: %s: %s\n", FILENAME, FNR, name, text
        }
    }
}
END {
    finish_sentence()
    for (i = 1; i <= file_count; i++) {
        file = names[i]
        allowed = int(prose_lines[file] / 500)
        if (found[file] > allowed) { printf "%s: %d phrases in %d lines of prose\n", file, found[file], prose_lines[file]; failed = 1 }
        if (long[file] > 0) { printf "%s: %d sentences of more than 25 words\n", file, long[file]; failed = 1 }
        long_total += long[file]
    }
    printf "%d lines of prose:", total_lines
    for (name in rule) printf " %s %d;", name, total[name]
    printf " long sentences %d\n", long_total
    exit failed
}' "$@"
