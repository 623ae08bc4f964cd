#!/usr/bin/env bash
# Fails if a manifest of deploy/ names another image than `make image` packs by default.
# The quick start of deploy/README.md depends on the same name.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset IMAGE MAKEFLAGS MAKEOVERRIDES MFLAGS
packed=$(make -s --no-print-directory -n image | sed -n "s/.* -name '\([^']*\)'.*/\1/p")
[ -n "$packed" ] || {
	echo "docs: make image names no image" >&2
	exit 1
}
checked=0
while read -r file; do
	# The kustomizations set the tag; the other manifests name the image without a tag.
	named=$(sed -n '/- name: tokenagent\/tokenagent$/{n;s|.*newTag: *|tokenagent/tokenagent:|p;}' "$file")
	if [ "$named" != "$packed" ]; then
		echo "$file: names the image ${named:-without a tag}, but make image packs $packed; use the same name in both" >&2
		exit 1
	fi
	checked=$((checked + 1))
done < <(git ls-files -co --exclude-standard 'deploy/*kustomization.yaml' | xargs grep -lx ' *- name: tokenagent/tokenagent')
if [ "$checked" = 0 ] || git ls-files -co --exclude-standard 'deploy/*.yaml' | xargs grep -n 'image: tokenagent/tokenagent[:@]'; then
	echo "docs: no kustomization sets the image's tag, or another file names an image with a tag" >&2
	exit 1
fi
echo "docs: $checked kustomizations name the image that make image packs"
