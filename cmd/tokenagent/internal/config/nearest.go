package config

import "github.com/spf13/cobra"

// Nearest returns one of names that word was probably meant to be, or "": a name that
// begins with word, or that differs from it in at most two letters. It borrows cobra's
// search for misspelled commands.
func Nearest(word string, names []string) string {
	if len(word) < 4 { // many names differ from a short word in two letters
		return ""
	}
	parent := &cobra.Command{SuggestionsMinimumDistance: 2}
	for _, name := range names {
		parent.AddCommand(&cobra.Command{Use: name, Run: func(*cobra.Command, []string) {}})
	}
	if near := parent.SuggestionsFor(word); len(near) > 0 {
		return near[0]
	}
	return ""
}
