package config

import "strings"

// Nearest returns the one of names that word was probably meant to be, or "": the same
// letters in other case or with other dashes, or at most two letters wrong, in a word
// of printable ASCII.
func Nearest(word string, names []string) (best string) {
	if len(word) > 40 || strings.ContainsFunc(word, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	bare := func(s string) string { return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s)) }
	least := 3
	for _, name := range names {
		if d := distance(bare(word), bare(name)); d < least && d < len(bare(name))/2+1 {
			best, least = name, d
		}
	}
	return best
}

// distance is how many letters must be added, removed or replaced to turn a into b
// (V. I. Levenshtein, 1966).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
