#!/usr/bin/env bash
# Fails if a Markdown page links to a file of this repository, or to a heading, that
# does not exist. It does not check links to other sites.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
failed=0
checked=0

# anchors PAGE: prints the fragments of the page's headings, as GitHub makes them.
anchors() {
	sed -n 's/^##* //p' "$1" | tr '[:upper:]' '[:lower:]' | sed -e 's/[^a-z0-9 _-]//g' -e 's/ /-/g'
}

while read -r page; do
	while read -r link; do
		case $link in *://* | mailto:*) continue ;; esac
		checked=$((checked + 1))
		target=$page
		[ -z "${link%%#*}" ] || target=$(dirname "$page")/${link%%#*}
		if [ ! -e "$target" ]; then
			echo "$page: no such file: $link" >&2
			failed=1
		elif [[ $link == *.md#* || $link == '#'* ]] && ! anchors "$target" | grep -qxF -- "${link#*#}"; then
			echo "$page: no such heading: $link" >&2
			failed=1
		fi
	done < <(grep -oE '\]\([^) ]+\)' "$page" | sed -e 's/^](//' -e 's/)$//')
done < <(git ls-files '*.md')

[ "$failed" = 0 ] && echo "docs: $checked links good"
exit "$failed"
