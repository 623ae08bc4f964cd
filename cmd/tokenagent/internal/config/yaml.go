package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"iter"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A parser reads one file of realms and collects its errors.
type parser struct {
	path   string
	errors []string
}

func (p *parser) fail(line int, format string, args ...any) {
	p.errors = append(p.errors, fmt.Sprintf("%s:%d: ", p.path, line)+fmt.Sprintf(format, args...))
}

// root returns the content of the one document that data holds, or nil after an error.
func (p *parser) root(data []byte) *yaml.Node {
	var doc, second yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(data))
	err := d.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF), err == nil && len(doc.Content) == 1 && isNull(doc.Content[0]):
		p.fail(1, "it is empty; it needs %s with at least one", keyRealms)
		return nil
	case err != nil:
		p.syntax(err)
		return nil
	}
	if err = d.Decode(&second); err == nil {
		p.fail(max(second.Line, 1), "a second document begins; one file holds one")
		return nil
	}
	if !errors.Is(err, io.EOF) {
		p.syntax(err)
		return nil
	}
	if n := anchored(&doc); n != nil {
		p.fail(n.Line, "anchors and aliases are not read; what realms have in common goes under %s", keyDefaults)
		return nil
	}
	return doc.Content[0]
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

// syntax reports an error of the YAML library. Its texts are fixed, except that one
// quotes the name of an anchor.
func (p *parser) syntax(err error) {
	line, what := 1, "it cannot be read"
	if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
		if what = m[2]; strings.Contains(what, "anchor") {
			what = "an alias to no anchor"
		}
	}
	p.fail(line, "it is not YAML: %s; indent by blanks, and put what holds ':' or '#' in quotes", what)
}

// anchored returns the first anchor or alias in n, or nil.
func anchored(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode || n.Anchor != "" {
		return n
	}
	for _, child := range n.Content {
		if found := anchored(child); found != nil {
			return found
		}
	}
	return nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

// entries iterates over the keys and values of a mapping called where.
func (p *parser) entries(n *yaml.Node, where string) iter.Seq2[*yaml.Node, *yaml.Node] {
	return func(yield func(key, value *yaml.Node) bool) {
		if n.Kind != yaml.MappingNode {
			p.fail(n.Line, "%s: it must be a mapping, of lines 'key: value'", where)
			return
		}
		lines := make(map[string]int)
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			if key.Kind != yaml.ScalarNode {
				p.fail(key.Line, "%s: a key must be a plain word", where)
			} else if first, twice := lines[key.Value]; twice {
				p.fail(key.Line, "%s: a key comes twice; the first is on line %d", where, first)
			} else if lines[key.Value] = key.Line; !yield(key, n.Content[i+1]) {
				return
			}
		}
	}
}

// values returns the scalars of n: one, or if list is set one or more. It returns nil
// after an error.
func (p *parser) values(n *yaml.Node, where string, list bool) (out []string) {
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = n.Content
		switch {
		case !list:
			p.fail(n.Line, "%s: it takes one value, not a list", where)
			return nil
		case len(nodes) == 0:
			p.fail(n.Line, "%s: the list is empty; leave the key out", where)
		}
	}
	for _, v := range nodes {
		problem := ""
		switch {
		case v.Kind != yaml.ScalarNode:
			problem = "it must be a plain value"
		case isNull(v):
			problem = "it has no value; give it one, or leave the key out"
		case !slices.Contains([]string{"!!str", "!!int", "!!bool", "!!float"}, v.Tag):
			problem = "it must be text, a number, true or false; put it in quotes"
		case IsEmpty(v.Value):
			problem = "it is empty; give it a value, or leave the key out"
		case list && IsEmptyElement(v.Value):
			problem = "it has an empty element; write a list, as in [a, b]"
		}
		if problem != "" {
			p.fail(v.Line, "%s: %s", where, problem)
			return nil
		}
		out = append(out, v.Value)
	}
	return out
}

// IsEmpty reports whether a value says nothing. The rule is the same for keys, flags
// and environment variables.
func IsEmpty(value string) bool { return strings.TrimSpace(value) == "" }

// IsEmptyElement reports whether a value of a list says nothing, or begins or ends
// with a comma, as a list does that lost an element.
func IsEmptyElement(value string) bool {
	value = strings.TrimSpace(value)
	return value == "" || strings.HasPrefix(value, ",") || strings.HasSuffix(value, ",")
}
