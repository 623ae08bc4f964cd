// Package choice adds flags that take one of a few words.
package choice

import (
	"errors"
	"slices"
	"strings"

	"github.com/spf13/pflag"
)

// A choice is the value of such a flag.
type choice struct {
	value *string
	words []string
}

// Add adds a flag that sets p to one of words. The first is the default, unless p is set.
func Add(fs *pflag.FlagSet, p *string, name, usage string, words ...string) {
	if *p == "" {
		*p = words[0]
	}
	fs.Var(&choice{p, words}, name, usage)
}

// JSON is the value of --output that asks for JSON.
const JSON = "json"

// AddOutput adds the flag --output, which sets p to text or json.
func AddOutput(fs *pflag.FlagSet, p *string) {
	Add(fs, p, "output", "`FORM` of the answer: text or json", "text", JSON)
}

func (c *choice) String() string { return *c.value }

// Type implements [pflag.Value]. Errors about the flag show it.
func (c *choice) Type() string {
	last := len(c.words) - 1
	return strings.Join(c.words[:last], ", ") + " or " + c.words[last]
}

// Set implements [pflag.Value].
func (c *choice) Set(word string) error {
	if !slices.Contains(c.words, word) {
		return errors.New("not one of the words")
	}
	*c.value = word
	return nil
}

// Words returns the words that the flag with this value takes, or nil if any value may be
// right. Shells complete them.
func Words(v pflag.Value) []string {
	if c, ok := v.(*choice); ok {
		return c.words
	}
	return nil
}
