#!/usr/bin/env bash
# Fails where a Markdown page links to a file of this repository that is not
# there. Links to other sites are left alone.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
failed=0
checked=0

while read -r page; do
	while read -r link; do
		case $link in *://* | mailto:* | '#'*) continue ;; esac
		checked=$((checked + 1))
		if [ ! -e "$(dirname "$page")/${link%%#*}" ]; then
			echo "$page: dead link $link" >&2
			failed=1
		fi
	done < <(grep -oE '\]\([^) ]+\)' "$page" | sed -e 's/^](//' -e 's/)$//')
done < <(git ls-files '*.md')

[ "$failed" = 0 ] && echo "docs: $checked links good"
exit "$failed"
